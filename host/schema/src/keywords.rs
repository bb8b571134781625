//! The keywords of JSON Schema draft 2020-12 that a settings schema may have.

/// What the value of a keyword is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A schema, which is applied.
    Schema,
    /// A list of schemas, which are applied.
    Schemas,
    /// Schemas by name, which are applied.
    Named,
    /// Schemas by pattern, which are applied.
    ByPattern,
    /// A value to compare with.
    Values,
    /// A pattern.
    Pattern,
    /// `$ref`
    Reference,
    /// Something for people, which stays.
    Note,
    /// Something that is left out: it neither says what settings must be nor is for their editors; or it is read
    /// where it is referred to.
    Nothing,
    /// What only the root may have, and is left out.
    OfRoot,
}

/// What a keyword holds; `None` where the draft does not have it, or it is not supported.
pub(crate) fn holds(keyword: &str) -> Option<Holds> {
    Some(match keyword {
        "additionalProperties"
        | "contains"
        | "else"
        | "if"
        | "items"
        | "not"
        | "propertyNames"
        | "then"
        | "unevaluatedItems"
        | "unevaluatedProperties" => Holds::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Holds::Schemas,
        "dependentSchemas" | "properties" => Holds::Named,
        "patternProperties" => Holds::ByPattern,
        "const" | "dependentRequired" | "enum" | "exclusiveMaximum" | "exclusiveMinimum"
        | "maxContains" | "maxItems" | "maxLength" | "maxProperties" | "maximum"
        | "minContains" | "minItems" | "minLength" | "minProperties" | "minimum" | "multipleOf"
        | "required" | "type" | "uniqueItems" => Holds::Values,
        "pattern" => Holds::Pattern,
        "$ref" => Holds::Reference,
        "default" | "deprecated" | "description" | "examples" | "title" => Holds::Note,
        "$comment" | "$defs" | "contentEncoding" | "contentMediaType" | "contentSchema"
        | "definitions" | "format" | "readOnly" | "writeOnly" => Holds::Nothing,
        "$id" | "$schema" => Holds::OfRoot,
        own if own.starts_with("x-") => Holds::Nothing,
        _ => return None,
    })
}
