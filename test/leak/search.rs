//! Finds secrets in a text, in every encoding and in parts.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// This many consecutive characters of a secret are a leak.
const WINDOW: usize = 20;

/// Half of [`WINDOW`]: every window of a form contains one of its consecutive blocks of this size.
const BLOCK: usize = WINDOW / 2;

/// The secrets in every encoding, indexed by their blocks.
pub(super) struct Search {
    forms: Vec<Vec<u8>>,
    /// The positions of each block: the number of its form and the offset.
    blocks: HashMap<Vec<u8>, Vec<(usize, usize)>>,
    /// The first two bytes of the blocks, to skip most of a text quickly.
    starts: Vec<bool>,
}

impl Search {
    pub(super) fn new(secrets: &[String]) -> Self {
        let mut search = Self { forms: Vec::new(), blocks: HashMap::new(), starts: vec![false; 1 << 16] };
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            // All JWTs have the same header. The first and last characters of base64 depend on the neighbours.
            let start = if form.starts_with("eyJ") { form.find('.').unwrap_or(4) } else { 4 };
            let form = form.as_bytes().get(start..form.len().saturating_sub(4)).unwrap_or_default();
            for (index, block) in form.chunks_exact(BLOCK).enumerate() {
                search.starts[usize::from(u16::from_be_bytes([block[0], block[1]]))] = true;
                search.blocks.entry(block.to_vec()).or_default().push((search.forms.len(), index * BLOCK));
            }
            search.forms.push(form.to_vec());
        }
        search
    }

    /// At least [`WINDOW`] consecutive characters of a form in a text.
    pub(super) fn find(&self, text: &[u8]) -> Option<String> {
        let is_start = |block: &[u8]| self.starts[usize::from(u16::from_be_bytes([block[0], block[1]]))];
        let blocks = text.windows(BLOCK).enumerate().filter(|(_, block)| is_start(block));
        blocks.filter_map(|(at, block)| Some((at, self.blocks.get(block)?))).find_map(|(at, positions)| {
            positions.iter().find_map(|(form, offset)| common(text, at, &self.forms[*form], *offset))
        })
    }
}

/// The text around a common position of two texts, if at least [`WINDOW`] characters are equal.
fn common(text: &[u8], at: usize, form: &[u8], offset: usize) -> Option<String> {
    let before =
        text[..at].iter().rev().zip(form[..offset].iter().rev()).take_while(|(one, other)| one == other).count();
    let after = text[at..].iter().zip(&form[offset..]).take_while(|(one, other)| one == other).count();
    (before + after >= WINDOW).then(|| String::from_utf8_lossy(&text[at - before..at + after]).into_owned())
}

pub(super) fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let json = serde_json::to_string(secret).expect("invalid JSON");
    let mut forms = vec![
        secret.to_owned(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        json.trim_matches('"').to_owned(),
        hex.to_uppercase(),
        hex,
    ];
    for before in ["", "a", "ab"] {
        let bytes = format!("{before}{secret}");
        forms.extend([STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]);
    }
    forms
}
