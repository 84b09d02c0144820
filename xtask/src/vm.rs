//! `vm`: Debian's kernels under qemu's TCG, for what the build machine's kernel lacks: real cgroup v2, AppArmor, a kernel
//! without tcx. The guest sees the host's files below a writable layer of its own, so that the very test programs of the host
//! run there; only `share` is written through.
//!
//! ```text
//!   vm ── qemu ── init.sh: 9p(host, read-only) + tmpfs = overlay root
//!    │                └── run.sh: each test program, output to share/N.log, code to share/N.exit
//!    └── adds up what share holds
//! ```

mod initrd;
mod kernel;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

pub use kernel::Kernel;

use crate::suites::{Program, Tally};

/// The guest computes four to eight times as long as the host (measured); deadlines of the tests are stretched by this.
const PATIENCE: &str = "10";
const MEMORY_MB: &str = "4096";
/// The whole run; a guest that hangs is ended.
const LIMIT_S: &str = "3000";

/// Runs `command` in the guest, or without one the test programs that need a kernel of their own.
pub fn run(root: &Path, kernel: Kernel, command: &[String]) -> Result<(), String> {
    let cache = crate::tools::cache()?.join("vm");
    let unpacked = kernel::ensure(kernel, &cache)?;
    let folder = cache.join(format!("run-{}", std::process::id()));
    let share = folder.join("share");
    fs::create_dir_all(&share).map_err(|error| format!("creating {}: {error}", share.display()))?;
    let start = Instant::now();
    let result = if command.is_empty() {
        suites(root, &unpacked, &folder)
    } else {
        let script = format!("cd /tmp && exec {}\n", quoted(command.iter().map(OsStr::new)));
        guest(&unpacked, &folder, &script, true)
    };
    println!("{} seconds on Debian's kernel {}", start.elapsed().as_secs(), unpacked.version);
    fs::remove_dir_all(&folder).map_err(|error| format!("removing {}: {error}", folder.display()))?;
    result
}

/// The privileged programs and the spine, with the dist file if one was built.
fn suites(root: &Path, kernel: &kernel::Unpacked, folder: &Path) -> Result<(), String> {
    let kedge = crate::dist::built(root);
    if !kedge.exists() {
        return Err(format!("{} is missing: run `cargo xtask dist` first", kedge.display()));
    }
    let programs = crate::suites::build(root)?;
    let chosen: Vec<&Program> = programs
        .iter()
        .filter(|program| program.suite() == "privileged" || program.title() == "kedge-integration spine")
        .collect();
    guest(kernel, folder, &script(root, &kedge, &chosen), false)?;
    let mut total = Tally::default();
    for (index, program) in chosen.iter().enumerate() {
        let read = |end: &str| fs::read_to_string(folder.join(format!("share/{index}.{end}")));
        let text = read("log").unwrap_or_default();
        let succeeded = read("exit").is_ok_and(|code| code.trim() == "0");
        let tally = Tally::of_output(&program.title(), &text, succeeded);
        if tally.failed > 0 {
            println!("{text}");
        }
        println!("{:<28} {tally}", program.title());
        total.add(tally);
    }
    for skip in &total.skips {
        println!("skipped: {skip}");
    }
    println!("{total}");
    if total.failed == 0 { Ok(()) } else { Err("red on this kernel".to_owned()) }
}

fn script(root: &Path, kedge: &Path, programs: &[&Program]) -> String {
    let mut script = String::new();
    for (index, program) in programs.iter().enumerate() {
        let words = program.command(root, kedge);
        let environment = words.get_envs().filter_map(|(name, value)| {
            Some(format!("{}={}", name.to_string_lossy(), value?.to_string_lossy()))
        });
        let line: Vec<String> = ["env".to_owned(), format!("KEDGE_TEST_PATIENCE={PATIENCE}")]
            .into_iter()
            .chain(environment)
            .chain([words.get_program().to_string_lossy().into_owned()])
            .chain(words.get_args().map(|word| word.to_string_lossy().into_owned()))
            .collect();
        let folder = words.get_current_dir().unwrap_or(root);
        script.push_str(&format!(
            "echo 'vm: {}'\ncd {} && {} > /tmp/share/{index}.log 2>&1\necho $? > /tmp/share/{index}.exit\n",
            program.title(),
            quoted([folder.as_os_str()]),
            quoted(line.iter().map(OsStr::new)),
        ));
    }
    script
}

/// Boots the kernel, runs the script there and waits for the end.
fn guest(kernel: &kernel::Unpacked, folder: &Path, script: &str, is_shown: bool) -> Result<(), String> {
    let share = folder.join("share");
    let home = std::env::var("HOME").unwrap_or_else(|_| "/".to_owned());
    let search = crate::tools::search_path();
    let prologue =
        format!("export HOME={} PATH={}\n", quoted([OsStr::new(&home)]), quoted([search.as_os_str()]));
    let file = share.join("run.sh");
    fs::write(&file, prologue + script).map_err(|error| format!("{}: {error}", file.display()))?;
    let initrd = initrd::write(kernel, folder)?;
    let mut qemu = command("timeout", folder);
    qemu.args([LIMIT_S, "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=single", "-cpu", "max"])
        .args(["-smp", "1", "-m", MEMORY_MB, "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"])
        .args(["-serial", "stdio", "-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&initrd)
        .args(["-virtfs", "local,path=/,mount_tag=root,security_model=none,multidevs=remap,readonly=on"])
        .arg("-virtfs")
        .arg(format!("local,path={},mount_tag=share,security_model=none", share.display()));
    let console = qemu.console()?;
    match fs::read_to_string(share.join("exit")).as_deref().map(str::trim) {
        Ok("0") => {
            if is_shown {
                print!("{console}");
            }
            Ok(())
        }
        Ok(code) => Err(format!("the guest's command ended with {code}\n{console}")),
        Err(_) => Err(format!("the guest did not come to its end\n{console}")),
    }
}

/// For a POSIX shell.
fn quoted<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> String {
    let quote = |word: &OsStr| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A program that must succeed, with its name in the error.
struct Called(Command);

fn command(program: &str, folder: &Path) -> Called {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    Called(command)
}

impl Called {
    fn arg(&mut self, word: impl AsRef<OsStr>) -> &mut Self {
        self.0.arg(word);
        self
    }

    fn args(&mut self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.0.args(words);
        self
    }

    fn run(&mut self) -> Result<(), String> {
        self.output().map(drop)
    }

    /// What it printed.
    fn output(&mut self) -> Result<String, String> {
        let name = self.0.get_program().to_string_lossy().into_owned();
        let output = self.0.output().map_err(|error| format!("running {name}: {error}: is it installed?"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr)))
    }

    /// What it printed, however it ended: a guest that powers off tells its outcome elsewhere.
    fn console(&mut self) -> Result<String, String> {
        let output = self.0.output().map_err(|error| format!("running qemu: {error}: is it installed?"))?;
        Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        let words = ["plain", "two words", "it's"].map(OsStr::new);
        assert_eq!(quoted(words), r"'plain' 'two words' 'it'\''s'");
    }
}
