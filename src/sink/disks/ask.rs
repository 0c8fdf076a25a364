//! Asking a program of the system, and not for ever: where the kernel has no files that tell of its disks.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::{Error, clean};

/// A few disks are a few KiB; an answer that goes on beyond this is none.
const ANSWER_MAX: u64 = 8 << 20;
/// Far beyond what a disk that has to spin up first takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What the program writes to its standard output.
///
/// # Errors
/// [`Error::Program`] when it cannot be started, fails, does not end within `patience`, or writes what is no UTF-8.
pub(super) fn ask(program: &Path, words: &[&str], patience: Duration) -> Result<String, Error> {
    let failed = |what: String| Error::Program { program: program.to_owned(), what };
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    // Both pipes are emptied, so that neither fills and holds it up.
    let answers = [collect(child.stdout.take()), collect(child.stderr.take())];
    let [said, complained] = answers.map(|answer| answer.recv_timeout(patience));
    let (Ok(said), Ok(complained)) = (said, complained) else {
        // It may have ended just now.
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed(format!("did not answer within {} s", patience.as_secs())));
    };
    let status = child.wait().map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    if !status.success() {
        return Err(failed(format!("ended with {status}: {}", clean(&complained))));
    }
    String::from_utf8(said).map_err(|_| failed("wrote what is no UTF-8".to_owned()))
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was cut off is noticed where it is understood.
        let _ = pipe.map(|pipe| pipe.take(ANSWER_MAX).read_to_end(&mut bytes));
        // Nobody waits any more when it took too long.
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Result<String, Error> {
        ask(Path::new("/bin/sh"), &["-c", script], patience)
    }

    #[test]
    fn what_a_program_says_is_handed_over_whole_also_beside_many_complaints() {
        let script = "yes complaint | head -c 300000 >&2; yes word | head -c 300000";
        assert_eq!(shell(script, PATIENCE).unwrap().len(), 300_000);
    }

    #[test]
    fn a_program_that_fails_is_told_with_its_complaint() {
        let error = shell("echo 'no such disk' >&2; exit 3", PATIENCE).unwrap_err().to_string();
        assert_eq!(error, "cannot list disks: `/bin/sh` ended with exit status: 3: no such disk");
        let error = ask(Path::new("/no/such/program"), &[], PATIENCE).unwrap_err().to_string();
        assert!(error.starts_with("cannot list disks: `/no/such/program` cannot be started: "), "{error}");
    }

    #[test]
    fn a_program_that_does_not_end_is_not_waited_for_for_ever() {
        let error = shell("exec sleep 1000", Duration::from_millis(1)).unwrap_err().to_string();
        assert!(error.contains("did not answer within"), "{error}");
    }
}
