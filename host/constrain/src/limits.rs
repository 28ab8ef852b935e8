//! What a stranger's schema, pattern or grammar may cost. Each limit says which failure it stops.
//!
//! They are far above what schemas that people write come to (the largest of the tools seen so far has 25 KB, 400 properties
//! and a depth of 14), and low enough that no compilation and no mask takes a second.

use std::time::Duration;

use llguidance::api::ParserLimits;

/// Bytes of one JSON Schema as text. Walking, compiling and caching it are linear in them at best.
pub const MAX_SCHEMA_BYTES: usize = 256 << 10;

/// How deep schemas nest in each other, references not followed: each level is a recursion of the compiler.
pub const MAX_SCHEMA_DEPTH: usize = 64;

/// The depths of the schema and of all that references point at, summed: the compiler follows references by recursion, and a
/// chain of a thousand overflows a stack of 2 MB, which aborts the process.
pub const MAX_RECURSION: usize = 4_000;

/// `$ref`s of one schema.
pub const MAX_REFERENCES: usize = 4_000;

/// Properties of all objects of one schema: 4,000 take more than a second to compile.
pub const MAX_PROPERTIES: usize = 2_000;

/// Properties of one object that may be left out: 4,000 of them take 1.3 s to compile.
pub const MAX_OPTIONAL_PROPERTIES: usize = 500;

/// Patterns of one patternProperties: whether two of them overlap is found out for each two.
pub const MAX_PATTERN_PROPERTIES: usize = 32;

/// Values of all enums of one schema: each is a branch that a mask has to follow.
pub const MAX_ENUM_VALUES: usize = 10_000;

/// Alternatives of one anyOf, oneOf or allOf: those of two that meet are multiplied.
pub const MAX_ALTERNATIVES: usize = 200;

/// The digits of a multipleOf as a number: as many states are searched, and 99999999 takes minutes, which no limit of
/// llguidance stops.
pub const MAX_MULTIPLE: u64 = 10_000;

/// What minLength, maxLength, minItems, maxItems, minProperties and maxProperties may say: what is counted is a state each.
pub const MAX_COUNT: u64 = 100_000;

/// Integers of that size and more are rounded, as they pass through f64.
pub const MAX_INTEGER: f64 = 9_007_199_254_740_992.0;

/// What a number that its schema leaves without a bound may be at most: it fits 64 bits, and f64 holds it exactly.
pub const LARGEST_WRITTEN: f64 = 1e18;

/// Bytes of one regular expression.
pub const MAX_PATTERN_BYTES: usize = 8 << 10;

/// How deep groups of a regular expression nest.
pub const MAX_PATTERN_DEPTH: u32 = 50;

/// Characters of a regular expression with every repetition written out: `(x{1000}){1000}` costs a second a mask.
pub const MAX_PATTERN_EXPANSION: u64 = 20_000;

/// What the expansions of regular expressions that a text has to match together multiply to: sixty short ones are not done
/// within a minute.
pub const MAX_PATTERN_PRODUCT: u64 = 1_000_000;

/// Bytes of a client's Lark grammar.
pub const MAX_LARK_BYTES: usize = 64 << 10;

/// How deep brackets of a Lark grammar nest: its parser is recursive.
pub const MAX_LARK_DEPTH: usize = 50;

/// How often a rule of a Lark grammar repeats its smallest part, through all rules it names; a terminal is written out, so its
/// parts are summed: sixty that each name the next twice would never be done.
pub const MAX_LARK_EXPANSION: u64 = 20_000;

/// Rules of a Lark grammar that name each other in a row: terminals are followed by recursion.
pub const MAX_LARK_CHAIN: usize = 500;

/// Bytes of a whole grammar as it is compiled: all tools' schemas and the format around them.
pub const MAX_GRAMMAR_BYTES: usize = 2 << 20;

/// How long a request waits for its grammar.
pub const COMPILE_TIME: Duration = Duration::from_secs(1);

/// Grammars compiled at the same time; one that takes longer than its request waits still counts, so that none pile up.
pub const MAX_COMPILING: usize = 4;

/// Stack of a compiling thread: schemas within the limits above recurse through less than half of it.
pub const COMPILE_STACK: usize = 64 << 20;

/// Compiled grammars kept.
pub const CACHE_ENTRIES: usize = 256;

/// Bytes of the grammars kept, text and lexer states.
pub const CACHE_BYTES: usize = 128 << 20;

/// What free lexers may have cost together, in llguidance's fuel, of which 16 to 35 bytes are left each.
pub const FREE_LEXER_FUEL: u64 = 2_000_000;

/// What a lexer counts for that has found nothing out yet.
pub const COPIED_LEXER_FUEL: u64 = 10_000;

/// llguidance's own limits, for a compilation below a second and masks of some ten milliseconds at worst.
pub(crate) fn parser_limits() -> ParserLimits {
    ParserLimits {
        // 50,000 a millisecond; schemas of 25 KB need a tenth of it.
        initial_lexer_fuel: 1_000_000,
        // 14,000 a millisecond; a bounded text that must not hold its own end needs 100,000 at times.
        step_lexer_fuel: 200_000,
        // 20,000 a millisecond.
        step_max_items: 50_000,
        // 1 to 2 KB each, of each sequence.
        max_lexer_states: 50_000,
        max_grammar_size: 200_000,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}
