//! Log lines: to standard error, or to a file that is rotated at 10 MB, three old ones kept.

use crate::failure::Failure;
use crate::options::{Cli, LogFormat};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

const FILE_BYTES_MAX: u64 = 10 << 20;
const FILES_KEPT: u32 = 3;

/// `file` None: standard error.
pub fn init(cli: &Cli, file: Option<&Path>) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&cli.log).map_err(|error| {
        Failure::with(crate::failure::Exit::Usage, format!("--log {:?}: {error}", cli.log))
    })?;
    let writer = match file {
        None => BoxMakeWriter::new(io::stderr),
        Some(path) => BoxMakeWriter::new(Mutex::new(RotatingFile::open(path)?)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    match cli.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl RotatingFile {
    fn open(path: &Path) -> Result<RotatingFile, Failure> {
        let (file, bytes) = append(path)
            .map_err(|error| Failure::new(format!("cannot open log {}: {error}", path.display())))?;
        Ok(RotatingFile { path: path.to_owned(), file, bytes })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |n: u32| PathBuf::from(format!("{}.{n}", self.path.display()));
        for n in (1..FILES_KEPT).rev() {
            if numbered(n).exists() {
                std::fs::rename(numbered(n), numbered(n + 1))?;
            }
        }
        std::fs::rename(&self.path, numbered(1))?;
        (self.file, self.bytes) = append(&self.path)?;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes + line.len() as u64 > FILE_BYTES_MAX && self.bytes > 0 {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_renamed_and_only_some_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.log");
        let mut log = RotatingFile::open(&path).map_err(|f| f.text).unwrap();
        let line = vec![b'x'; 6 << 20];
        for _ in 0..6 {
            log.write_all(&line).unwrap();
        }
        let mut names: Vec<String> = folder
            .path()
            .read_dir()
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["k.log", "k.log.1", "k.log.2", "k.log.3"]);
    }
}
