//! dump IMAGE: what dump.py does, with the Rust parser. The format is described there.
//!
//! Rust's parser has no null: what an `if` leaves out is 0, "", false or an empty array, and only an object is none.

use std::collections::HashSet;
use std::panic::{catch_unwind, AssertUnwindSafe};

use kaitai::{BytesReader, KResult, KStruct, OptRc};
use vhdx::*;

// The compiler puts more parentheses than are needed, and its lists of what may warn leave these out.
#[allow(unused_parens, dead_code)]
#[path = "../../../../../generated/rust/vhdx.rs"]
mod vhdx;

include!(concat!(env!("OUT_DIR"), "/show.rs"));

/// `Err` is the path of a value that cannot be had.
type Shown = Result<(), String>;

#[derive(Default)]
pub struct Dump {
    lines: Vec<String>,
    failed: HashSet<String>,
}

impl Dump {
    fn line(&mut self, line: String) -> Shown {
        self.lines.push(line);
        Ok(())
    }

    fn field<T: Show>(&mut self, owner: &str, name: &str, value: &dyn Fn() -> KResult<T>) -> Shown {
        let path = format!("{owner}/{name}");
        if self.failed.contains(&path) {
            return self.line(format!("{path} error"));
        }
        // Where something else has failed before, an object that is not there is used, which panics.
        match catch_unwind(AssertUnwindSafe(value)) {
            Ok(Ok(value)) => value.show(self, &path),
            _ => Err(path),
        }
    }
}

trait Show {
    fn show(&self, dump: &mut Dump, path: &str) -> Shown;
}

macro_rules! show_plain {
    ($($kind:ty),*) => { $(impl Show for $kind {
        fn show(&self, dump: &mut Dump, path: &str) -> Shown {
            dump.line(format!("{path} = {self}"))
        }
    })* };
}
show_plain!(bool, u8, u16, u32, u64, i8, i32, i64);

impl Show for String {
    fn show(&self, dump: &mut Dump, path: &str) -> Shown {
        let character = |c: char| match c {
            ' '..='~' if c != '"' && c != '\\' => c.to_string(),
            _ => format!("\\u{{{:x}}}", c as u32),
        };
        dump.line(format!("{path} = \"{}\"", self.chars().map(character).collect::<String>()))
    }
}

impl Show for Vec<u8> {
    fn show(&self, dump: &mut Dump, path: &str) -> Shown {
        let text = match self.len() {
            0..=64 => self.iter().map(|byte| format!("{byte:02x}")).collect(),
            _ => adler32(self).to_string(),
        };
        dump.line(format!("{path} = {} bytes {text}", self.len()))
    }
}

trait Item: Show {}
impl Item for u16 {}
impl<T> Item for OptRc<T> where OptRc<T>: Show {}

impl<T: Item> Show for Vec<T> {
    fn show(&self, dump: &mut Dump, path: &str) -> Shown {
        dump.line(format!("{path} = {} items", self.len()))?;
        for (i, item) in self.iter().enumerate() {
            if self.len() <= 5000 || i < 4 || i >= self.len() - 4 {
                item.show(dump, &format!("{path}[{i}]"))?;
            }
        }
        Ok(())
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u64, 0u64);
    for chunk in bytes.chunks(5552) {
        for &byte in chunk {
            a += u64::from(byte);
            b += a;
        }
        (a, b) = (a % 65521, b % 65521);
    }
    (b << 16 | a) as u32
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let image = std::env::args_os().nth(1).expect("usage: dump IMAGE");
    let mut dump = Dump::default();
    for name in FIELDS {
        loop {
            dump.lines.clear();
            let stream = BytesReader::open(&image).expect("the image can be opened");
            let root: OptRc<Vhdx> = Vhdx::read_into::<_, Vhdx>(&stream, None, None).expect("it is an image");
            match show_field(&root, name, &mut dump) {
                Ok(()) => break,
                Err(path) => dump.failed.insert(path),
            };
        }
        for line in &dump.lines {
            println!("{line}");
        }
    }
}
