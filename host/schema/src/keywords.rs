//! The keywords of JSON Schema draft 2020-12 that a settings schema may use.

/// The kind of a keyword's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A schema that is applied.
    Schema,
    /// A list of schemas that are applied.
    Schemas,
    /// Schemas by name that are applied.
    Named,
    /// Schemas by pattern that are applied.
    ByPattern,
    /// A value to compare with.
    Values,
    /// A pattern.
    Pattern,
    /// `$ref`
    Reference,
    /// An annotation for people, which is kept.
    Note,
    /// A value that is dropped: it neither constrains settings nor helps their editors, or it is read through
    /// references.
    Nothing,
    /// A value that only the root may have, and that is dropped.
    OfRoot,
}

/// Returns the kind of a keyword's value; `None` if the draft lacks the keyword or it is not supported.
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
