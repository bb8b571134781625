//! Deserializes settings from JSON text to the author's type; errors carry a JSON pointer.
//!
//! This is a deserializer of its own, for text that the host has already checked to be strict JSON.
//! `serde_json` with `serde_path_to_error` was measured in its place: `same-workspace` grows from
//! 55,528 to 121,226 bytes while `evaluate` takes the same fuel (1,882 and 1,880), and settings
//! that are refused here would be accepted: an array for a struct, `{"variant": null}` for a unit
//! variant. Its messages name Rust types, where the author of a manifest knows those of JSON.

mod error;
mod reader;

use std::borrow::Cow;

use serde::de::value::CowStrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

pub use error::Error;
pub(crate) use error::cut;
use reader::{Number, Reader};

/// Parses settings.
///
/// # Errors
/// The first problem, with its location, when the text is not JSON or does not fit the type.
pub fn parse<S: DeserializeOwned>(json: &str) -> Result<S, Error> {
    let mut reader = Reader::new(json);
    let settings = S::deserialize(&mut reader)?;
    reader.end()?;
    Ok(settings)
}

macro_rules! forward {
    ($($to:ident: $($from:ident)*;)*) => {$($(
        fn $from<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.$to(visitor)
        }
    )*)*};
}

// Each method accepts only the JSON types that fit, so that code for types which the settings do
// not use is not compiled into the component.
impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek()? {
            b'n' => self.word("null").and_then(|()| visitor.visit_unit()),
            b't' | b'f' => self.deserialize_bool(visitor),
            b'"' => self.deserialize_str(visitor),
            b'[' => self.deserialize_seq(visitor),
            b'{' => self.deserialize_map(visitor),
            _ => self.deserialize_f64(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek()? {
            b't' => self.word("true").and_then(|()| visitor.visit_bool(true)),
            b'f' => self.word("false").and_then(|()| visitor.visit_bool(false)),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.peek()? != b'"' {
            return Err(self.mismatch(&visitor));
        }
        match self.string()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if !self.at_number()? {
            return Err(self.mismatch(&visitor));
        }
        match self.number()? {
            Number::Unsigned(number) => visitor.visit_u64(number),
            Number::Signed(number) => visitor.visit_i64(number),
            Number::Other(_) => Err(Error::invalid_type(Unexpected::Other("number"), &visitor)),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if !self.at_number()? {
            return Err(self.mismatch(&visitor));
        }
        match self.number()? {
            Number::Unsigned(number) => visitor.visit_u64(number),
            Number::Signed(number) => visitor.visit_i64(number),
            Number::Other(text) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => visitor.visit_f64(number),
                _ => Err(Error::custom("the number is out of range")),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek()? {
            b'n' => self.word("null").and_then(|()| visitor.visit_none()),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek()? {
            b'n' => self.word("null").and_then(|()| visitor.visit_unit()),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.peek()? != b'[' {
            return Err(self.mismatch(&visitor));
        }
        self.open()?;
        let mut items = Items { reader: self, index: 0 };
        let value = visitor.visit_seq(&mut items)?;
        if items.more()? {
            return Err(Error::custom(format_args!("more than {} items", items.index)));
        }
        self.close();
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.peek()? != b'{' {
            return Err(self.mismatch(&visitor));
        }
        self.open()?;
        let mut members = Members { reader: self, first: true, key: Cow::Borrowed("") };
        let value = visitor.visit_map(&mut members)?;
        if members.more()? {
            return Err(Error::custom("more members than expected"));
        }
        self.close();
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // Not `visit_seq`: serde would also accept an array of the fields in order.
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.peek()? {
            b'"' => visitor.visit_enum(CowStrDeserializer::new(self.string()?)),
            b'{' => {
                self.open()?;
                let mut members = Members { reader: self, first: true, key: Cow::Borrowed("") };
                if !members.more()? {
                    return Err(Error::custom("expected an object with one key, found none"));
                }
                members.key = members.reader.key()?;
                let value = visitor.visit_enum(&mut members)?;
                if members.more()? {
                    return Err(Error::custom("expected an object with one key, found more"));
                }
                self.close();
                Ok(value)
            }
            _ => Err(Error::custom("expected a string or an object with one key")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    forward_to_deserialize_any! { bytes byte_buf ignored_any }

    forward! {
        deserialize_u64: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
            deserialize_u8 deserialize_u16 deserialize_u32;
        deserialize_f64: deserialize_f32;
        deserialize_str: deserialize_char deserialize_string deserialize_identifier;
    }
}

/// The items of an array.
struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    index: usize,
}

impl Items<'_, '_> {
    fn more(&mut self) -> Result<bool, Error> {
        self.reader.more(b']', self.index == 0)
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        // The creator of the items calls `more` again at their end, and must get the same answer.
        if self.reader.at(b']') || !self.more()? {
            return Ok(None);
        }
        let item = seed.deserialize(&mut *self.reader).map_err(|error| error.at_index(self.index));
        self.index += 1;
        item.map(Some)
    }
}

/// The members of an object.
struct Members<'r, 'de> {
    reader: &'r mut Reader<'de>,
    first: bool,
    key: Cow<'de, str>,
}

impl Members<'_, '_> {
    fn more(&mut self) -> Result<bool, Error> {
        let more = self.reader.more(b'}', self.first);
        self.first = false;
        more
    }
}

impl<'de> MapAccess<'de> for &mut Members<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        if self.reader.at(b'}') || !self.more()? {
            return Ok(None);
        }
        self.key = self.reader.key()?;
        let key: CowStrDeserializer<'_, Error> = self.key.clone().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.at_key(&self.key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(&mut *self.reader).map_err(|error| error.at_key(&self.key))
    }
}

impl<'de> EnumAccess<'de> for &mut Members<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let key: CowStrDeserializer<'_, Error> = self.key.clone().into_deserializer();
        Ok((seed.deserialize(key)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Members<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Err(Error::custom("takes no value: write it as a string"))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(&mut *self.reader).map_err(|error| error.at_key(&self.key))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.reader.deserialize_seq(visitor).map_err(|error| error.at_key(&self.key))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.reader.deserialize_map(visitor).map_err(|error| error.at_key(&self.key))
    }
}
