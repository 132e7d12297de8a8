//! What the processor offers beyond the instructions that every one of its architecture has.

use std::fmt;

/// The instruction sets that decide which tiles and which instructions a program may use.
///
/// They are a value, not a question asked where code is generated, so that a program can be
/// compiled for less than the machine has and its dumps do not depend on where they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features {
    /// SSSE3.
    pub ssse3: bool,
    /// SSE4.1.
    pub sse41: bool,
    /// SSE4.2.
    pub sse42: bool,
    /// AVX, 256-bit registers saved by the operating system included.
    pub avx: bool,
    /// AVX2.
    pub avx2: bool,
    /// Fused multiply-add of vectors.
    pub fma: bool,
    /// AVX-512 F, VL, DQ and BW together, 512-bit registers saved by the operating system included.
    pub avx512: bool,
}

/// Each feature's name and how to read it; the order is that of [`Features`]'s text.
type Row = (&'static str, fn(&Features) -> bool);

const ROWS: [Row; 7] = [
    ("ssse3", |features| features.ssse3),
    ("sse4.1", |features| features.sse41),
    ("sse4.2", |features| features.sse42),
    ("avx", |features| features.avx),
    ("avx2", |features| features.avx2),
    ("fma", |features| features.fma),
    ("avx512", |features| features.avx512),
];

impl Features {
    /// What the running processor has; nothing on architectures other than x86-64.
    #[cfg(target_arch = "x86_64")]
    pub fn detect() -> Features {
        Features {
            ssse3: std::is_x86_feature_detected!("ssse3"),
            sse41: std::is_x86_feature_detected!("sse4.1"),
            sse42: std::is_x86_feature_detected!("sse4.2"),
            avx: std::is_x86_feature_detected!("avx"),
            avx2: std::is_x86_feature_detected!("avx2"),
            fma: std::is_x86_feature_detected!("fma"),
            avx512: std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512vl")
                && std::is_x86_feature_detected!("avx512dq")
                && std::is_x86_feature_detected!("avx512bw"),
        }
    }

    /// What the running processor has; nothing on architectures other than x86-64.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn detect() -> Features {
        Features::default()
    }

    /// The level x86-64-v2: vectors of 128 bits, neither AVX nor fused multiply-add. Intersected
    /// with [`Features::detect`] it gives programs whose results are the same on every such
    /// machine.
    pub const fn baseline() -> Features {
        Features {
            ssse3: true,
            sse41: true,
            sse42: true,
            avx: false,
            avx2: false,
            fma: false,
            avx512: false,
        }
    }

    /// What both have.
    #[must_use]
    pub const fn intersect(self, other: Features) -> Features {
        Features {
            ssse3: self.ssse3 && other.ssse3,
            sse41: self.sse41 && other.sse41,
            sse42: self.sse42 && other.sse42,
            avx: self.avx && other.avx,
            avx2: self.avx2 && other.avx2,
            fma: self.fma && other.fma,
            avx512: self.avx512 && other.avx512,
        }
    }
}

impl fmt::Display for Features {
    /// The names joined by `+`, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, _) in ROWS.iter().filter(|(_, has)| has(self)) {
            write!(f, "{}{name}", if first { "" } else { "+" })?;
            first = false;
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_lists_every_feature_in_order() {
        let all = Features {
            ssse3: true,
            sse41: true,
            sse42: true,
            avx: true,
            avx2: true,
            fma: true,
            avx512: true,
        };
        assert_eq!(all.to_string(), "ssse3+sse4.1+sse4.2+avx+avx2+fma+avx512");
        assert_eq!(Features::baseline().to_string(), "ssse3+sse4.1+sse4.2");
        assert_eq!(Features::default().to_string(), "none");
    }

    #[test]
    fn intersection_keeps_what_both_have() {
        let avx2 = Features { avx2: true, fma: true, ..Features::default() };
        let fma = Features { fma: true, sse41: true, ..Features::default() };
        assert_eq!(avx2.intersect(fma), Features { fma: true, ..Features::default() });
        assert_eq!(fma.intersect(avx2), avx2.intersect(fma));
        let detected = Features::detect();
        assert_eq!(detected.intersect(detected), detected);
        assert!(!detected.intersect(Features::baseline()).fma);
    }
}
