//! Sets and maps of identifiers in settings, for lists of thousands.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::identifier::Identifier;
use crate::sorted_texts::{SortedTexts, order};

/// A set of [`Workspace`](crate::Workspace), [`DefinitionId`](crate::DefinitionId) or
/// [`Audience`](crate::Audience) in settings, written as an array.
///
/// The memory that settings take is part of every evaluation's cost. Identifiers are kept in order, each without the
/// beginning that it shares with the one before, so thousands of names that begin alike take a few bytes each, where a
/// `BTreeSet` has a text and a pointer for each. It is asked with the texts of a run:
///
/// ```
/// use countersign_policy::{IdentifierSet, Workspace, settings};
///
/// #[settings]
/// pub struct Settings {
///     /// Workspaces that may use the definition.
///     workspaces: IdentifierSet<Workspace>,
/// }
/// # let settings: Settings = countersign_policy::parse_settings(r#"{"workspaces": ["team-a"]}"#).unwrap();
/// # let run = countersign_policy::testing::run();
/// let listed = settings.workspaces.contains(&run.building_block.workspace);
/// # assert!(!listed && settings.workspaces.contains("team-a"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct IdentifierSet<T> {
    texts: SortedTexts,
    identifiers: PhantomData<T>,
}

/// A map from [`Workspace`](crate::Workspace), [`DefinitionId`](crate::DefinitionId) or
/// [`Audience`](crate::Audience) in settings, written as an object. See [`IdentifierSet`].
#[derive(Clone, PartialEq, Eq)]
pub struct IdentifierMap<T, V> {
    keys: IdentifierSet<T>,
    /// In the order of keys.
    values: Vec<V>,
}

impl<T: Identifier> IdentifierSet<T> {
    /// Tells whether the set has this text.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.texts.find(text).is_some()
    }

    /// The number of identifiers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The identifiers, in the order of their bytes. Each is put together anew.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.texts.iter().map(T::from_checked)
    }
}

impl<T: Identifier, V> IdentifierMap<T, V> {
    /// The value of this text.
    #[must_use]
    pub fn get(&self, text: &str) -> Option<&V> {
        self.values.get(self.keys.texts.find(text)?)
    }

    /// The number of identifiers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The identifiers with their values, in the order of the identifiers' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (T, &V)> {
        self.keys.iter().zip(&self.values)
    }
}

impl<T> Default for IdentifierSet<T> {
    fn default() -> Self {
        Self { texts: SortedTexts::default(), identifiers: PhantomData }
    }
}

impl<T, V> Default for IdentifierMap<T, V> {
    fn default() -> Self {
        Self { keys: IdentifierSet::default(), values: Vec::new() }
    }
}

impl<T: Identifier> FromIterator<T> for IdentifierSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(identifiers: I) -> Self {
        let texts = identifiers.into_iter().map(|identifier| identifier.as_str().to_owned());
        Self { texts: SortedTexts::of::<String>(texts.collect()), identifiers: PhantomData }
    }
}

impl<T: Identifier> fmt::Debug for IdentifierSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.texts.iter()).finish()
    }
}

impl<T: Identifier, V: fmt::Debug> fmt::Debug for IdentifierMap<T, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.keys.texts.iter().zip(&self.values)).finish()
    }
}

impl<'de, T: Identifier> Deserialize<'de> for IdentifierSet<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts<T>(PhantomData<T>);

        impl<'de, T: Identifier> Visitor<'de> for Texts<T> {
            type Value = IdentifierSet<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element_seed(Checked::<T>(PhantomData))? {
                    texts.push(text);
                }
                Ok(IdentifierSet { texts: SortedTexts::of(texts), identifiers: PhantomData })
            }
        }

        deserializer.deserialize_seq(Texts(PhantomData))
    }
}

impl<'de, T: Identifier, V: Deserialize<'de>> Deserialize<'de> for IdentifierMap<T, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T, V>(PhantomData<(T, V)>);

        impl<'de, T: Identifier, V: Deserialize<'de>> Visitor<'de> for Entries<T, V> {
            type Value = IdentifierMap<T, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(Cow<'de, str>, V)> = Vec::new();
                while let Some(key) = members.next_key_seed(Checked::<T>(PhantomData))? {
                    entries.push((key, members.next_value()?));
                }
                entries.sort_unstable_by(|(one, _), (other, _)| order(one, other));
                if let Some([(key, _), _]) = entries.windows(2).find(|pair| match pair {
                    [(one, _), (other, _)] => one == other,
                    _ => false,
                }) {
                    return Err(A::Error::custom(format_args!("`{key}` is there twice")));
                }
                let (texts, values): (Vec<_>, _) = entries.into_iter().unzip();
                let texts = SortedTexts::new(&texts);
                Ok(IdentifierMap {
                    keys: IdentifierSet { texts, identifiers: PhantomData },
                    values,
                })
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// An identifier's text, borrowed from the settings where it has no escapes.
struct Checked<T>(PhantomData<T>);

impl<'de, T: Identifier> DeserializeSeed<'de> for Checked<T> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, T: Identifier> Visitor<'de> for Checked<T> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        T::check(text).map_err(E::custom)?;
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        T::check(text).map_err(E::custom)?;
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod schema {
    use schemars::{JsonSchema, Schema, SchemaGenerator};

    use super::{Cow, IdentifierMap, IdentifierSet};

    /// That of a set.
    impl<T: JsonSchema> JsonSchema for IdentifierSet<T> {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            <std::collections::BTreeSet<T> as JsonSchema>::schema_name()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            <std::collections::BTreeSet<T> as JsonSchema>::json_schema(generator)
        }
    }

    /// That of a map.
    impl<T: JsonSchema, V: JsonSchema> JsonSchema for IdentifierMap<T, V> {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            <std::collections::BTreeMap<T, V> as JsonSchema>::schema_name()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            <std::collections::BTreeMap<T, V> as JsonSchema>::json_schema(generator)
        }
    }
}
