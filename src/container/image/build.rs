//! The output of an engine that builds an image, parsed for progress and for the reason of a failure. Pure.

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildStep {
    /// The number of the step, from 1.
    pub number: usize,
    /// The number of steps; in builds of several stages, those of this stage.
    pub of: usize,
    /// The text of the step.
    pub label: String,
}

/// The most characters of a label.
const LABEL: usize = 60;
/// The number of lines that explain a failed build.
const REASON_LINES: usize = 5;
const REASON: usize = 600;

/// Parses a line that begins a step: docker's `Step 3/17 : RUN …`, podman's `[1/2] STEP 3/17: RUN …` or `STEP 3/17:
/// RUN …`, and buildkit's `#7 [npm 3/8] RUN …`.
pub fn step(line: &str) -> Option<BuildStep> {
    let line = line.trim();
    let counted = line.strip_prefix("Step ").or_else(|| line.find("STEP ").map(|at| &line[at + 5..]));
    if let Some(rest) = counted {
        let (count, label) = rest.split_once(':')?;
        return made(count, label);
    }
    // Output of a step has its time before it.
    let inside = line.strip_prefix('#')?.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(" [")?;
    let (stage, label) = inside.split_once(']')?;
    made(stage.rsplit(' ').next()?, label)
}

fn made(count: &str, label: &str) -> Option<BuildStep> {
    let (number, of) = count.trim().split_once('/')?;
    let words = label.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = words.chars().take(LABEL).collect();
    if short.len() < words.len() {
        short.push('…');
    }
    Some(BuildStep { number: number.parse().ok()?, of: of.parse().ok()?, label: short })
}

/// Returns why a build failed: its last lines that are not empty.
pub fn reason(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(REASON_LINES)..].join("; ");
    let skip = last.chars().count().saturating_sub(REASON);
    if last.is_empty() { "it gave no reason".to_owned() } else { last.chars().skip(skip).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_every_engine_are_read() {
        let read = |line: &str| step(line).map(|step| (step.number, step.of, step.label));
        let expected = Some((3, 17, "RUN apt-get update".to_owned()));
        assert_eq!(read("Step 3/17 : RUN apt-get update"), expected);
        assert_eq!(read("STEP 3/17: RUN   apt-get update"), expected);
        assert_eq!(read("[2/2] STEP 3/17: RUN apt-get update"), expected);
        assert_eq!(read("#7 [npm 3/17] RUN apt-get update"), expected);
        assert_eq!(read("#7 [3/17] RUN apt-get update"), expected);
        for other in
            ["", " ---> Running in 1", "#7 0.310 [1/2] x", "#7 DONE 0.1s", "Step by step: no", "#1 [internal] load"]
        {
            assert_eq!(read(other), None, "{other}");
        }
        let long = format!("Step 1/2 : RUN {}", "x".repeat(200));
        assert!(step(&long).unwrap().label.ends_with('…'));
    }

    #[test]
    fn reason_of_a_build_is_its_last_lines() {
        assert_eq!(reason("a\n\nb\nc\nd\ne\nf\n"), "b; c; d; e; f");
        assert_eq!(reason(" \n"), "it gave no reason");
        assert_eq!(reason(&"ä".repeat(2000)).chars().count(), REASON);
    }
}
