//! Where a template's output goes: memory, up to a limit.

use std::io::{self, Write};

use crate::error::PromptError;

/// Collects output and refuses more than its limit.
pub(super) struct BoundedOutput {
    bytes: Vec<u8>,
    limit: usize,
}

impl BoundedOutput {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
        }
    }

    /// What was written.
    pub(super) fn into_text(self) -> Result<String, PromptError> {
        String::from_utf8(self.bytes).map_err(|error| PromptError::Render(error.to_string()))
    }
}

impl Write for BoundedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.limit {
            return Err(io::Error::other(format!(
                "the rendered text is longer than {} bytes",
                self.limit
            )));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_fits_and_refuses_the_rest() {
        let mut output = BoundedOutput::new(5);
        output.write_all("héo".as_bytes()).unwrap();
        assert!(output.write_all(b"xy").is_err());
        output.write_all(b"!").unwrap();
        assert_eq!(output.into_text().unwrap(), "héo!");
    }
}
