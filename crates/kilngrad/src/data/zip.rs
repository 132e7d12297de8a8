//! The part of the zip format that `.npz` files are written in: members that are stored or deflated,
//! found by the directory at the end.

use std::borrow::Cow;
use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;
use kilngrad_ir::text::Limits;

use crate::arrays::excerpt;

/// A member as the directory has it.
pub(super) struct Member<'f> {
    pub(super) name: String,
    /// What follows its own header.
    packed: &'f [u8],
    deflated: bool,
    size: usize,
    sum: u32,
}

/// The members of an archive in the order of its directory.
pub(super) fn members<'f>(file: &'f [u8], limits: &Limits) -> Result<Vec<Member<'f>>, String> {
    const END: usize = 22;
    // A comment of at most 65,535 bytes may follow the end's record.
    let earliest = file.len().saturating_sub(END + usize::from(u16::MAX));
    let end = (earliest..(file.len() + 1).saturating_sub(END)).rev();
    let end = end.map(|at| &file[at..]).find(|rest| rest.starts_with(b"PK\x05\x06"));
    let end = end.ok_or("expected a zip archive, found no directory at the end")?;
    let (count, at) = (usize::from(u16_at(end, 10)?), u32_at(end, 16)? as usize);
    if count > limits.values {
        return Err(format!("expected at most {} arrays, found {count}", limits.values));
    }
    let mut directory = file.get(at..).ok_or("expected a directory inside the file")?;
    let mut members = Vec::new();
    for _ in 0..count {
        let (member, rest) = member(file, directory)?;
        members.push(member);
        directory = rest;
    }
    Ok(members)
}

/// The first member of a directory, and the others.
fn member<'f>(file: &'f [u8], entry: &'f [u8]) -> Result<(Member<'f>, &'f [u8]), String> {
    if !entry.starts_with(b"PK\x01\x02") {
        return Err("expected a member in the archive's directory, found none".into());
    }
    let (name, extra, comment) = (u16_at(entry, 28)?, u16_at(entry, 30)?, u16_at(entry, 32)?);
    let named = slice(entry, 46, usize::from(name))?;
    let name = String::from_utf8_lossy(named).into_owned();
    let whole = 46 + named.len() + usize::from(extra) + usize::from(comment);
    let rest = entry.get(whole..).ok_or("expected a whole directory, found the end")?;
    let wrong = |what: &str| Err(format!("{}: expected {what}", excerpt(&name)));
    if u16_at(entry, 8)? & 1 != 0 {
        return wrong("a member that is not encrypted");
    }
    let deflated = match u16_at(entry, 10)? {
        0 => false,
        8 => true,
        method => return wrong(&format!("a member stored or deflated, found method {method}")),
    };
    let (packed, size, at) = (u32_at(entry, 20)?, u32_at(entry, 24)?, u32_at(entry, 42)?);
    if [packed, size, at].contains(&u32::MAX) {
        return wrong("an archive of less than 4 GiB");
    }
    let header = file.get(at as usize..).filter(|header| header.starts_with(b"PK\x03\x04"));
    let Some(header) = header else { return wrong("a member where the directory has it") };
    let start = 30 + usize::from(u16_at(header, 26)?) + usize::from(u16_at(header, 28)?);
    let packed = slice(header, start, packed as usize)?;
    let sum = u32_at(entry, 16)?;
    Ok((Member { name, packed, deflated, size: size as usize, sum }, rest))
}

impl<'f> Member<'f> {
    /// What is in it.
    pub(super) fn content(&self, limits: &Limits) -> Result<Cow<'f, [u8]>, String> {
        let wrong = |what: String| Err(format!("{}: {what}", excerpt(&self.name)));
        if self.size > limits.file_bytes {
            let most = limits.file_bytes;
            return wrong(format!("expected at most {most} bytes in all, found {}", self.size));
        }
        let content = match self.deflated {
            false => Cow::Borrowed(self.packed),
            true => {
                let mut content = Vec::new();
                // One more than stated tells that there is more.
                let mut reader = DeflateDecoder::new(self.packed).take(self.size as u64 + 1);
                match reader.read_to_end(&mut content) {
                    Ok(_) => Cow::Owned(content),
                    Err(error) => return wrong(format!("expected deflated bytes: {error}")),
                }
            }
        };
        if content.len() != self.size {
            return wrong(format!("expected {} bytes, found {}", self.size, content.len()));
        }
        let mut sum = Crc::new();
        sum.update(&content);
        match sum.sum() == self.sum {
            true => Ok(content),
            false => wrong("expected bytes of the stated sum, found others".into()),
        }
    }
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], String> {
    let slice = bytes.get(at..).and_then(|bytes| bytes.get(..length));
    slice.ok_or_else(|| "expected a whole archive, found the end".into())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    let found = slice(bytes, at, 2)?;
    Ok(u16::from_le_bytes([found[0], found[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    let found = slice(bytes, at, 4)?;
    Ok(u32::from_le_bytes([found[0], found[1], found[2], found[3]]))
}
