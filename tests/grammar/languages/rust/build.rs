//! Writes what Rust cannot find out when it runs: an implementation of `Show` for each type, from the list of fields
//! in the environment's VHDX_FIELDS (see fields.js).

use std::fmt::Write;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=VHDX_FIELDS");
    let list = std::env::var("VHDX_FIELDS").expect("VHDX_FIELDS names the list of fields");
    println!("cargo:rerun-if-changed={list}");
    let list = std::fs::read_to_string(list).expect("the list of fields can be read");
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split(' ').collect()).collect();
    let mut code = String::new();
    for same in lines.chunk_by(|one, next| one[0] == next[0]) {
        let name = type_name(same[0][0]);
        if same[0][2] == "enum" {
            writeln!(code, "impl Show for {name} {{ fn show(&self, dump: &mut Dump, path: &str) -> Shown {{").unwrap();
            writeln!(code, "i64::from(self).show(dump, path) }} }}").unwrap();
            continue;
        }
        for line in same.iter().filter(|line| line[2] == "switch") {
            write_switch(&mut code, &format!("{name}_{}", pascal(line[1])), line[3]);
        }
        writeln!(code, "impl Show for OptRc<{name}> {{ fn show(&self, dump: &mut Dump, path: &str) -> Shown {{").unwrap();
        writeln!(code, "if self.is_none() {{ return dump.line(format!(\"{{path}} none\")); }}").unwrap();
        for line in same {
            let value = if matches!(line[2], "instance" | "switch") { "Ok(self.FIELD()?.clone())" } else { "Ok(self.FIELD().clone())" };
            let value = value.replace("FIELD", line[1]);
            writeln!(code, "dump.field(path, {:?}, &|| {value})?;", line[1]).unwrap();
        }
        writeln!(code, "Ok(()) }} }}").unwrap();
        if same[0][0] == "vhdx" {
            write_root(&mut code, same);
        }
    }
    std::fs::write(Path::new(&std::env::var("OUT_DIR").unwrap()).join("show.rs"), code).unwrap();
}

fn write_switch(code: &mut String, name: &str, cases: &str) {
    writeln!(code, "impl Show for Option<{name}> {{ fn show(&self, dump: &mut Dump, path: &str) -> Shown {{ match self {{").unwrap();
    for case in cases.split(',').map(type_name) {
        writeln!(code, "Some({name}::{case}(value)) => value.show(dump, path),").unwrap();
    }
    writeln!(code, "None => dump.line(format!(\"{{path}} none\")), }} }} }}").unwrap();
}

/// Each field of the file by itself, so that it can be asked of a new object.
fn write_root(code: &mut String, fields: &[Vec<&str>]) {
    let names: Vec<&str> = fields.iter().map(|line| line[1]).collect();
    writeln!(code, "pub const FIELDS: &[&str] = &{names:?};").unwrap();
    writeln!(code, "pub fn show_field(root: &OptRc<Vhdx>, name: &str, dump: &mut Dump) -> Shown {{ match name {{").unwrap();
    for line in fields {
        let value = if line[2] == "instance" { "root.FIELD()?.clone()" } else { "root.FIELD().clone()" };
        let value = value.replace("FIELD", line[1]);
        writeln!(code, "{0:?} => dump.field(\"\", {0:?}, &|| Ok({value})),", line[1]).unwrap();
    }
    writeln!(code, "_ => unreachable!(), }} }}").unwrap();
}

fn type_name(id: &str) -> String {
    if id == "vhdx" { pascal(id) } else { format!("Vhdx_{}", pascal(id)) }
}

fn pascal(id: &str) -> String {
    id.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
