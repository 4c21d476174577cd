//! The result as a JUnit file, which Bitbucket finds by its directory's name and shows under Tests.
//!
//! Written without a crate: the usual ones leave characters in that XML 1.0 cannot represent.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::not_written;
use crate::console::redact;
use crate::diagnostic::Diagnostic;
use crate::files::atomic::{self, Attributes};
use crate::function::outcome::{Location, Outcome, Verdict};

/// One of the names that Bitbucket looks for.
const DIRECTORY: &str = "test-reports";
const FILE: &str = "openfaas-pipe.xml";

/// Writes the file into the clone directory; returns its path.
pub(super) fn write(clone_dir: &Path, outcome: &Outcome, attributes: Attributes) -> Result<PathBuf, Diagnostic> {
    let dir = clone_dir.join(DIRECTORY);
    let path = dir.join(FILE);
    atomic::create_dir(&dir, attributes)
        .and_then(|()| atomic::write(&path, render(outcome).as_bytes(), attributes))
        .map_err(not_written(&path))?;
    Ok(path)
}

/// A test case: a function, the invocation, or the run as a whole.
struct Case<'a> {
    name: String,
    place: Option<&'a Location>,
    duration: Duration,
    verdict: Verdict,
    problem: Option<&'a Diagnostic>,
    /// The message if there is no problem.
    word: &'static str,
    /// Its image with the digest, if that is known.
    image: Option<String>,
}

fn cases(outcome: &Outcome) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = outcome
        .functions
        .iter()
        .map(|function| Case {
            place: function.place.as_ref(),
            verdict: function.verdict(),
            image: function.pinned_image(),
            ..Case::new(function.function.to_string(), function.duration, &function.problem, function.action.as_str())
        })
        .collect();
    cases.extend(outcome.resources().map(|resource| Case {
        verdict: resource.verdict(),
        ..Case::new(resource.resource.to_string(), Duration::ZERO, &resource.problem, resource.action.as_str())
    }));
    cases.extend(outcome.calls.iter().map(|call| Case {
        verdict: call.verdict(),
        ..Case::new(format!("VERIFY {}", call.call), call.duration, &call.problem, "not made")
    }));
    cases.extend(outcome.invocation.iter().map(|invocation| {
        Case::new(invocation.function.to_string(), invocation.duration, &invocation.problem, "invoked")
    }));
    // What failed before the first function must be a case too.
    if outcome.problem.is_some() || cases.is_empty() {
        let name = outcome.command.name();
        cases.push(Case::new(name.to_owned(), outcome.duration, &outcome.problem, name));
    }
    cases
}

fn render(outcome: &Outcome) -> String {
    let cases = cases(outcome);
    let count = |verdict| cases.iter().filter(|case| case.verdict == verdict).count();
    let counts = format!(
        r#"tests="{}" failures="{}" errors="0" skipped="{}" time="{:.3}""#,
        cases.len(),
        count(Verdict::Failed),
        count(Verdict::Skipped),
        outcome.duration.as_secs_f64(),
    );
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, r#"<testsuites name="openfaas-pipe" {counts}>"#);
    let _ = writeln!(xml, r#"  <testsuite name="openfaas-pipe {}" {counts}>"#, outcome.command);
    for case in &cases {
        let _ = case.render(outcome, &mut xml);
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

impl<'a> Case<'a> {
    fn new(name: String, duration: Duration, problem: &'a Option<Diagnostic>, word: &'static str) -> Self {
        let verdict = if problem.is_some() { Verdict::Failed } else { Verdict::Passed };
        Self { name, place: None, duration, verdict, problem: problem.as_ref(), word, image: None }
    }

    fn render(&self, outcome: &Outcome, xml: &mut String) -> fmt::Result {
        write!(
            xml,
            r#"    <testcase classname="openfaas-pipe.{}" name="{}" time="{:.3}""#,
            outcome.command,
            Escaped(&self.name),
            self.duration.as_secs_f64(),
        )?;
        if let Some(Location { file, line }) = self.place {
            write!(xml, r#" file="{}" line="{line}""#, Escaped(file))?;
        }
        let message = self.problem.map_or(self.word, |problem| problem.message.as_str());
        let mut body = String::new();
        if let Some(image) = &self.image {
            let image = Escaped(image);
            write!(body, "\n      <properties><property name=\"image\" value=\"{image}\"/></properties>")?;
        }
        match self.verdict {
            Verdict::Passed => {}
            Verdict::Skipped => write!(body, "\n      <skipped message=\"{}\"/>", Escaped(message))?,
            Verdict::Failed => {
                let kind = self.problem.map_or(self.word, |problem| problem.failure.as_str());
                let whole = self.problem.map_or_else(|| message.to_owned(), ToString::to_string);
                write!(body, "\n      <failure type=\"{kind}\" message=\"{}\">", Escaped(message))?;
                // Line by line: a line end is escaped within an attribute, not within the text.
                let lines: Vec<_> = whole.split('\n').map(|line| Escaped(line).to_string()).collect();
                write!(body, "{}</failure>", lines.join("\n"))?;
            }
        }
        if body.is_empty() { xml.write_str("/>\n") } else { writeln!(xml, ">{body}\n    </testcase>") }
    }
}

/// A text within an element or a quoted attribute, secrets masked; what XML 1.0 (2.2) forbids is made visible.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in redact::redact(self.0).chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // As they are, a reader would make spaces of them in an attribute.
                '\t' | '\n' | '\r' => write!(f, "&#{};", u32::from(character))?,
                '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                    write!(f, "{}", character.escape_default())?;
                }
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn each_function_is_a_case() {
        insta::assert_snapshot!(render(&sample::deploy()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="openfaas-pipe" tests="4" failures="2" errors="0" skipped="1" time="1.500">
          <testsuite name="openfaas-pipe deploy" tests="4" failures="2" errors="0" skipped="1" time="1.500">
            <testcase classname="openfaas-pipe.deploy" name="hello" time="0.120" file="./deploy/stack.yaml" line="5"/>
            <testcase classname="openfaas-pipe.deploy" name="late.staging" time="0.120" file="./deploy/stack.yaml" line="9">
              <failure type="not ready" message="no replica after 5m">no replica after 5m</failure>
            </testcase>
            <testcase classname="openfaas-pipe.deploy" name="refused" time="0.120" file="./deploy/stack.yaml" line="13">
              <failure type="permission" message="the gateway said `no &lt;way&gt;`">the gateway said `no &lt;way&gt;`
        hint: add `Function:Create` to the Policy</failure>
            </testcase>
            <testcase classname="openfaas-pipe.deploy" name="waiting" time="0.000">
              <skipped message="not started"/>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn invocation_is_a_case() {
        insta::assert_snapshot!(render(&sample::invoke()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="openfaas-pipe" tests="1" failures="0" errors="0" skipped="0" time="1.500">
          <testsuite name="openfaas-pipe invoke" tests="1" failures="0" errors="0" skipped="0" time="1.500">
            <testcase classname="openfaas-pipe.invoke" name="hello.staging" time="0.300"/>
          </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn what_failed_before_any_function_is_a_case() {
        insta::assert_snapshot!(render(&sample::refused()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="openfaas-pipe" tests="1" failures="1" errors="0" skipped="0" time="1.500">
          <testsuite name="openfaas-pipe deploy" tests="1" failures="1" errors="0" skipped="0" time="1.500">
            <testcase classname="openfaas-pipe.deploy" name="deploy" time="1.500">
              <failure type="permission" message="the token was refused">the token was refused</failure>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn no_text_breaks_the_xml() {
        let text = "<a b=\"c\">&amp;]]>\u{1b}[31m\0\u{85}\u{fffe}\r\n\té😀";
        assert_eq!(
            Escaped(text).to_string(),
            r"&lt;a b=&quot;c&quot;&gt;&amp;amp;]]&gt;\u{1b}[31m\u{0}\u{85}\u{fffe}&#13;&#10;&#9;é😀"
        );
    }

    #[test]
    fn directory_that_is_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let target = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(target.path(), dir.path().join(DIRECTORY)).unwrap();
        write(dir.path(), &sample::deploy(), Attributes::inherited_from(None)).unwrap_err();
        assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 0);
    }
}
