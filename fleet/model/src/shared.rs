//! A value that is copied often and changed seldom.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A value that its copies share until one of them is changed: every plan is made from a copy of all that was seen, and
/// most of that is as it was ten seconds ago.
///
/// To change it through [`DerefMut`] copies it first where it is shared. Written and read as the value itself.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T, I> FromIterator<I> for Shared<T>
where
    T: FromIterator<I>,
{
    fn from_iter<A: IntoIterator<Item = I>>(items: A) -> Self {
        T::from_iter(items).into()
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_changed_leaves_the_others_as_they_are() {
        let first: Shared<Vec<u8>> = vec![1, 2].into();
        let mut second = first.clone();
        second.push(3);
        assert_eq!((first.as_slice(), second.as_slice()), (&[1, 2][..], &[1, 2, 3][..]));
        assert_ne!(first, second);
        second.pop();
        assert_eq!(first, second, "equal by what they hold");
    }

    #[test]
    fn it_is_written_as_the_value_itself() {
        let shared: Shared<Vec<u8>> = vec![1, 2].into();
        let text = serde_json::to_string(&shared).expect("it encodes");
        assert_eq!(text, "[1,2]");
        assert_eq!(serde_json::from_str::<Shared<Vec<u8>>>(&text).expect("it decodes"), shared);
    }
}
