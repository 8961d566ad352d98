//! The values of a TOML file, with the places where they stand.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde::de::value::MapAccessDeserializer;
use toml::Spanned;

/// A word, and where it stands.
pub(super) type Value = Spanned<Word>;

/// One word or several, and where they stand.
pub(super) type Values = Spanned<List>;

/// A yes or no, and where it stands.
pub(super) type Flag = Spanned<bool>;

/// A table, or `true` for one that is empty, and where it stands.
pub(super) type Table<T> = Spanned<Toggle<T>>;

/// A string, or a number as a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) String);

/// A word alone or in an array.
#[derive(Clone, Debug)]
pub(super) enum List {
    /// Alone.
    One(Word),
    /// In an array.
    Many(Vec<Value>),
}

/// A yes or no, or an array of zones.
#[derive(Clone, Debug)]
pub(super) enum Zones {
    /// Every zone, or none.
    All(bool),
    /// These zones.
    Some(List),
}

/// A table, or `true` for one that is empty, or `false` for none.
#[derive(Clone, Debug)]
pub(super) struct Toggle<T>(pub(super) Option<T>);

// === impl Word ===

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

/// Takes strings and numbers.
struct WordVisitor;

impl Visitor<'_> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a whole number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
        Ok(Word(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }
}

// === impl List ===

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor)
    }
}

/// Takes what [`WordVisitor`] takes, and arrays of it.
struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or an array of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<List, E> {
        WordVisitor.visit_str(text).map(List::One)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<List, E> {
        WordVisitor.visit_i64(number).map(List::One)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<List, E> {
        WordVisitor.visit_u64(number).map(List::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<List, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = array.next_element()? {
            values.push(value);
        }
        Ok(List::Many(values))
    }
}

// === impl Zones ===

impl<'de> Deserialize<'de> for Zones {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ZonesVisitor)
    }
}

/// Takes what [`ListVisitor`] takes, and booleans.
struct ZonesVisitor;

impl<'de> Visitor<'de> for ZonesVisitor {
    type Value = Zones;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or an array of zones")
    }

    fn visit_bool<E: Error>(self, all: bool) -> Result<Zones, E> {
        Ok(Zones::All(all))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Zones, E> {
        ListVisitor.visit_str(text).map(Zones::Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Zones, A::Error> {
        ListVisitor.visit_seq(array).map(Zones::Some)
    }
}

// === impl Toggle ===

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Toggle<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToggleVisitor(PhantomData))
    }
}

/// Takes booleans and tables.
struct ToggleVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for ToggleVisitor<T> {
    type Value = Toggle<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or a table")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Toggle<T>, E> {
        Ok(Toggle(on.then(T::default)))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Toggle<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(table)).map(|table| Toggle(Some(table)))
    }
}
