//! What a parser that Kaitai Struct 0.11 generated from `vhdx.ksy` needs of a runtime, and no more.
//!
//! Kaitai's own runtime for Rust is in no package registry (the crate called `kaitai` there is another project), so this
//! crate takes its place: the names and their meaning are those that the generated code calls. There is no big-endian
//! number, no float and no processing in it, because the grammar has none. Offsets are bytes.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Deref;
use std::path::Path;
use std::rc::{Rc, Weak};

pub type KResult<T> = Result<T, KError>;

/// Why something cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KError {
    Eof { requested: usize, available: usize },
    EmptyIterator,
    MissingParent,
    CastError,
    ReadBitsTooLarge { requested: usize },
    UnknownEncoding { name: String },
    BytesDecodingError { msg: String },
    ValidationFailed(ValidationFailedError),
    IoError { msg: String },
}

impl From<std::io::Error> for KError {
    fn from(error: std::io::Error) -> Self {
        KError::IoError { msg: error.to_string() }
    }
}

/// A field that `contents` or `valid` of the grammar does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidationFailedError {
    pub kind: ValidationKind,
    pub src_path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidationKind {
    NotEqual,
    LessThan,
    GreaterThan,
    NotAnyOf,
    NotInEnum,
    Expr,
}

// ---- how objects hold each other

/// An object of the tree, or none yet. Using one that is none panics.
#[derive(Debug)]
pub struct OptRc<T>(Option<Rc<T>>);

impl<T> OptRc<T> {
    pub fn get(&self) -> Rc<T> {
        Rc::clone(self.0.as_ref().expect("an object that was not read"))
    }

    pub fn get_value(&self) -> &Option<Rc<T>> {
        &self.0
    }

    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl<T> Default for OptRc<T> {
    fn default() -> Self {
        OptRc(None)
    }
}

impl<T> Clone for OptRc<T> {
    fn clone(&self) -> Self {
        OptRc(self.0.clone())
    }
}

impl<T> From<T> for OptRc<T> {
    fn from(value: T) -> Self {
        OptRc(Some(Rc::new(value)))
    }
}

impl<T> From<Rc<T>> for OptRc<T> {
    fn from(value: Rc<T>) -> Self {
        OptRc(Some(value))
    }
}

impl<T> Deref for OptRc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().expect("an object that was not read")
    }
}

/// A way up the tree, to the parent or the root, that keeps nothing alive.
pub struct SharedType<T>(RefCell<Weak<T>>);

impl<T> SharedType<T> {
    pub fn new(value: Rc<T>) -> Self {
        SharedType(RefCell::new(Rc::downgrade(&value)))
    }

    pub fn empty() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.get().is_err()
    }

    pub fn get(&self) -> KResult<OptRc<T>> {
        self.0.borrow().upgrade().map(OptRc::from).ok_or(KError::MissingParent)
    }

    pub fn get_value(&self) -> &RefCell<Weak<T>> {
        &self.0
    }

    pub fn set(&self, value: KResult<OptRc<T>>) {
        *self.0.borrow_mut() = value.map_or_else(|_| Weak::new(), |object| Rc::downgrade(&object.get()));
    }
}

impl<T> Default for SharedType<T> {
    fn default() -> Self {
        SharedType(RefCell::new(Weak::new()))
    }
}

impl<T> Clone for SharedType<T> {
    fn clone(&self) -> Self {
        SharedType(RefCell::new(self.0.borrow().clone()))
    }
}

impl<T> fmt::Debug for SharedType<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(up)") // the tree goes round in circles here
    }
}

// ---- what every generated type is

pub trait KStruct: Default {
    type Root: KStruct + 'static;
    type Parent: KStruct + 'static;

    /// Fill in the fields of `seq` from the stream.
    fn read<S: KStream>(
        self_rc: &OptRc<Self>,
        io: &S,
        root: SharedType<Self::Root>,
        parent: SharedType<Self::Parent>,
    ) -> KResult<()>;

    /// A `T` at the stream's position. Without a root it is its own, which only the type of the whole file can be.
    fn read_into<S: KStream, T: KStruct + Any>(
        io: &S,
        root: Option<SharedType<T::Root>>,
        parent: Option<SharedType<T::Parent>>,
    ) -> KResult<OptRc<T>> {
        Self::read_into_with_init(io, root, parent, &|_: &mut T| Ok(()))
    }

    /// The same for a type with parameters, which `init` sets.
    fn read_into_with_init<S: KStream, T: KStruct + Any>(
        io: &S,
        root: Option<SharedType<T::Root>>,
        parent: Option<SharedType<T::Parent>>,
        init: &dyn Fn(&mut T) -> KResult<()>,
    ) -> KResult<OptRc<T>> {
        let mut fresh = T::default();
        init(&mut fresh)?;
        let object = Rc::new(fresh);
        let own_root = || (object.clone() as Rc<dyn Any>).downcast::<T::Root>().map(SharedType::new);
        let root = match root {
            Some(given) => given,
            None => own_root().map_err(|_| KError::MissingParent)?,
        };
        let object = OptRc::from(object.clone());
        T::read(&object, io, root, parent.unwrap_or_default())?;
        Ok(object)
    }
}

/// The parent of the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KStructUnit;

impl KStruct for KStructUnit {
    type Root = KStructUnit;
    type Parent = KStructUnit;

    fn read<S: KStream>(_: &OptRc<Self>, _: &S, _: SharedType<Self>, _: SharedType<Self>) -> KResult<()> {
        Ok(())
    }
}

// ---- streams

pub trait KStream {
    fn clone(&self) -> BytesReader;
    fn size(&self) -> usize;
    fn pos(&self) -> usize;
    fn seek(&self, position: usize) -> KResult<()>;
    fn read_bytes(&self, length: usize) -> KResult<Vec<u8>>;
    fn read_bits_int_le(&self, bits: usize) -> KResult<u64>;
    fn align_to_byte(&self) -> KResult<()>;

    fn is_eof(&self) -> bool {
        self.pos() >= self.size()
    }

    fn read_bytes_full(&self) -> KResult<Vec<u8>> {
        self.read_bytes(self.size().saturating_sub(self.pos()))
    }

    fn read_u1(&self) -> KResult<u8> {
        Ok(self.read_bytes(1)?[0])
    }

    fn read_u2le(&self) -> KResult<u16> {
        read_array(self).map(u16::from_le_bytes)
    }

    fn read_u4le(&self) -> KResult<u32> {
        read_array(self).map(u32::from_le_bytes)
    }

    fn read_u8le(&self) -> KResult<u64> {
        read_array(self).map(u64::from_le_bytes)
    }
}

fn read_array<S: KStream + ?Sized, const N: usize>(io: &S) -> KResult<[u8; N]> {
    io.read_bytes(N)?.try_into().map_err(|_| KError::CastError)
}

/// A stream over bytes in memory or over a file; clones share the bytes, each has its own position.
#[derive(Clone, Debug, Default)]
pub struct BytesReader {
    source: Rc<Source>,
    position: Cell<usize>,
    bits: Cell<u64>, // of the last byte, those that were not asked for
    bits_left: Cell<usize>,
}

#[derive(Debug)]
enum Source {
    Bytes(Vec<u8>),
    File(File, usize),
}

impl Default for Source {
    fn default() -> Self {
        Source::Bytes(Vec::new())
    }
}

impl From<Vec<u8>> for BytesReader {
    fn from(bytes: Vec<u8>) -> Self {
        Self::over(Source::Bytes(bytes))
    }
}

impl From<&[u8]> for BytesReader {
    fn from(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl BytesReader {
    pub fn open<P: AsRef<Path>>(path: P) -> KResult<Self> {
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?.try_into().map_err(|_| KError::CastError)?;
        Ok(Self::over(Source::File(file, size)))
    }

    fn over(source: Source) -> Self {
        BytesReader { source: Rc::new(source), ..Self::default() }
    }
}

impl KStream for BytesReader {
    fn clone(&self) -> BytesReader {
        Clone::clone(self)
    }

    fn size(&self) -> usize {
        match &*self.source {
            Source::Bytes(bytes) => bytes.len(),
            Source::File(_, size) => *size,
        }
    }

    fn pos(&self) -> usize {
        self.position.get()
    }

    fn seek(&self, position: usize) -> KResult<()> {
        self.position.set(position);
        self.align_to_byte()
    }

    fn read_bytes(&self, length: usize) -> KResult<Vec<u8>> {
        let start = self.pos();
        let available = self.size().saturating_sub(start);
        if length > available {
            return Err(KError::Eof { requested: length, available });
        }
        let bytes = match &*self.source {
            Source::Bytes(bytes) => bytes[start..start + length].to_vec(),
            Source::File(file, _) => {
                let mut file = file; // a reference can read and seek, too
                let mut bytes = vec![0; length];
                file.seek(SeekFrom::Start(start as u64))?;
                file.read_exact(&mut bytes)?;
                bytes
            }
        };
        self.position.set(start + length);
        Ok(bytes)
    }

    /// The next bits of a little-endian bit field, the least significant first.
    fn read_bits_int_le(&self, bits: usize) -> KResult<u64> {
        if bits > 56 {
            return Err(KError::ReadBitsTooLarge { requested: bits });
        }
        let (mut value, mut have) = (self.bits.get(), self.bits_left.get());
        while have < bits {
            value |= u64::from(self.read_bytes(1)?[0]) << have;
            have += 8;
        }
        self.bits.set(value >> bits);
        self.bits_left.set(have - bits);
        Ok(value & ((1 << bits) - 1))
    }

    fn align_to_byte(&self) -> KResult<()> {
        self.bits.set(0);
        self.bits_left.set(0);
        Ok(())
    }
}

/// The text in these bytes. The grammar has one encoding.
#[allow(clippy::ptr_arg)] // which the generated code relies on to infer a type
pub fn bytes_to_str(bytes: &Vec<u8>, encoding: &str) -> KResult<String> {
    if encoding != "UTF-16LE" {
        return Err(KError::UnknownEncoding { name: encoding.to_string() });
    }
    let pairs = bytes.chunks_exact(2);
    let is_whole = pairs.remainder().is_empty();
    let units: Vec<u16> = pairs.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let text = String::from_utf16(&units).ok().filter(|_| is_whole);
    text.ok_or_else(|| KError::BytesDecodingError { msg: format!("{} bytes are no UTF-16", bytes.len()) })
}
