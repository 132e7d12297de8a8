//! The instruction sets that code is generated for: the host's, less what the options withhold.

use std::sync::Arc;

use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use kilngrad_tiles::Features;

use crate::CodegenError;

/// How much Cranelift may rearrange a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Instructions keep the order in which they are written (`opt_level = none`).
    Ordered,
    /// Pure instructions are shared, hoisted, simplified and sunk to their uses
    /// (`opt_level = speed`).
    Optimized,
}

/// One target a level of effort; they differ in nothing else.
pub(crate) struct Targets {
    ordered: Arc<dyn TargetIsa>,
    optimized: Arc<dyn TargetIsa>,
}

impl Targets {
    /// Targets for this machine, restricted to `features`.
    pub(crate) fn for_host(features: Features) -> Result<Targets, CodegenError> {
        check_features(features)?;
        let targets = Targets {
            ordered: build(features, Effort::Ordered)?,
            optimized: build(features, Effort::Optimized)?,
        };
        if targets.ordered.pointer_bits() != 64 {
            return Err(unsupported("expected a 64-bit target, found another"));
        }
        Ok(targets)
    }

    /// The target that compiles with this effort.
    pub(crate) fn with(&self, effort: Effort) -> &Arc<dyn TargetIsa> {
        match effort {
            Effort::Ordered => &self.ordered,
            Effort::Optimized => &self.optimized,
        }
    }
}

/// Code is about to run on this very machine, so a feature it does not have is refused here. On
/// x86-64 the level v2 is required: without SSE4.1 rounding becomes a library call.
fn check_features(features: Features) -> Result<(), CodegenError> {
    let host = Features::detect();
    if features.intersect(host) != features {
        return Err(unsupported(format!(
            "expected features of this processor ({host}), found {features}"
        )));
    }
    if cfg!(target_arch = "x86_64") && !(features.ssse3 && features.sse41 && features.sse42) {
        return Err(unsupported(format!("expected ssse3, sse4.1 and sse4.2, found {features}")));
    }
    Ok(())
}

fn build(features: Features, effort: Effort) -> Result<Arc<dyn TargetIsa>, CodegenError> {
    let mut shared = settings::builder();
    let opt_level = match effort {
        Effort::Ordered => "none",
        Effort::Optimized => "speed",
    };
    let verifier = if cfg!(debug_assertions) { "true" } else { "false" };
    for (name, value) in [
        ("opt_level", opt_level),
        ("enable_verifier", verifier),
        // Code stays where it is placed, and nothing unwinds through it.
        ("is_pic", "false"),
        ("unwind_info", "false"),
        // A frame of many spilled registers must meet the guard page, not step over it. Frames
        // below a page, which is all that occur, are not probed.
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
    ] {
        shared.set(name, value).map_err(|error| unsupported(error.to_string()))?;
    }
    let mut builder = cranelift_native::builder().map_err(unsupported)?;
    if cfg!(target_arch = "x86_64") {
        for (name, allowed) in x86_flags(features) {
            if !allowed {
                builder.set(name, "false").map_err(|error| unsupported(error.to_string()))?;
            }
        }
    }
    builder.finish(settings::Flags::new(shared)).map_err(|error| unsupported(error.to_string()))
}

/// The flags that detection may have set and the features may forbid. Bit manipulation arrived
/// together with AVX2 and goes with it.
fn x86_flags(features: Features) -> [(&'static str, bool); 14] {
    [
        ("has_avx", features.avx),
        ("has_avx2", features.avx && features.avx2),
        ("has_fma", features.avx && features.fma),
        ("has_bmi1", features.avx2),
        ("has_bmi2", features.avx2),
        ("has_lzcnt", features.avx2),
        ("has_avx_vnni", features.avx2),
        ("has_avx512f", features.avx512),
        ("has_avx512vl", features.avx512),
        ("has_avx512dq", features.avx512),
        ("has_avx512bitalg", features.avx512),
        ("has_avx512vbmi", features.avx512),
        ("has_avx512vnni", features.avx512),
        ("has_cmpxchg16b", false),
    ]
}

fn unsupported(what: impl Into<String>) -> CodegenError {
    CodegenError::Unsupported { what: what.into() }
}
