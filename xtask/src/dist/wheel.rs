//! A wheel: the program, for `pip install` and `uvx`.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::archive::Tree;
use super::payload::{DESCRIPTION, LICENCE, NAME, Payload, VERSION};

/// The wheel's file name and bytes, for platforms with this tag.
pub fn wheel(payload: &Payload, tag: &str) -> Result<(String, Vec<u8>)> {
    let (data, info) = (format!("{NAME}-{VERSION}.data"), format!("{NAME}-{VERSION}.dist-info"));
    let mut tree = Tree::default();
    tree.program(format!("{data}/scripts/{NAME}"), payload.binary.clone());
    tree.below(&format!("{data}/data/"), &payload.shared);
    tree.below(&format!("{info}/licenses/"), &payload.licences);
    tree.file(format!("{info}/METADATA"), metadata(&payload.readme));
    let tags: String = tag.split('.').map(|tag| format!("Tag: py3-none-{tag}\n")).collect();
    tree.file(
        format!("{info}/WHEEL"),
        format!("Wheel-Version: 1.0\nGenerator: cargo xtask dist\nRoot-Is-Purelib: false\n{tags}"),
    );
    let record = format!("{info}/RECORD");
    tree.file(record.clone(), records(&tree) + &format!("{record},,\n"));
    Ok((format!("{NAME}-{VERSION}-py3-none-{tag}.whl"), tree.zip(payload.compression)?))
}

fn metadata(readme: &str) -> String {
    format!(
        "Metadata-Version: 2.4\nName: {NAME}\nVersion: {VERSION}\nSummary: {DESCRIPTION}\nLicense-Expression: {LICENCE}\n\
         License-File: LICENSE-APACHE\nLicense-File: LICENSE-MIT\nRequires-Python: >=3.8\n\
         Description-Content-Type: text/markdown\n\n{readme}"
    )
}

/// A line with checksum and size for each file.
fn records(tree: &Tree) -> String {
    let line = |(path, bytes): (&str, &[u8])| {
        format!("{path},sha256={},{}\n", URL_SAFE_NO_PAD.encode(Sha256::digest(bytes)), bytes.len())
    };
    tree.files().map(line).collect()
}
