//! The place that an export is written to.

/// A place for objects, each written once.
pub trait Destination {
    /// The names of the objects below a prefix that ends in `/`, in no order.
    ///
    /// # Errors
    /// Returns an error if they cannot be listed.
    fn list(&mut self, prefix: &str) -> Result<Vec<String>, DestinationError>;

    /// Reads an object of at most `max` bytes.
    ///
    /// # Errors
    /// Returns an error if it is not there, is longer, or cannot be read.
    fn read(&mut self, name: &str, max: usize) -> Result<Vec<u8>, DestinationError>;

    /// True if there is such an object.
    ///
    /// # Errors
    /// Returns an error if that cannot be found out.
    fn exists(&mut self, name: &str) -> Result<bool, DestinationError>;

    /// Creates an object, whole or not at all, if there is none of this name.
    ///
    /// # Errors
    /// Returns an error if it could not be created.
    fn create(&mut self, name: &str, bytes: &[u8]) -> Result<Put, DestinationError>;

    /// The place, for people.
    fn name(&self) -> String;
}

/// The outcome of [`Destination::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object was created.
    Created,
    /// There is one of this name, which was not changed.
    Exists,
}

/// A place that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {problem}")]
pub struct DestinationError {
    /// The object, or the place.
    pub object: String,
    /// The reason.
    pub problem: String,
    /// True if another attempt may succeed.
    pub is_temporary: bool,
}

impl DestinationError {
    pub(crate) fn new(object: impl Into<String>, problem: impl ToString) -> Self {
        let (object, problem) = (object.into(), problem.to_string());
        Self { object, problem, is_temporary: false }
    }
}
