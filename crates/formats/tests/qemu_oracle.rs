//! QEMU and virsh as oracles of what is written for them.
//!
//! `SELFSAME_QEMU` names a `qemu-system-x86_64` that runs as it is (a script that finds its libraries will do), and
//! `SELFSAME_VIRSH` a `virsh`. Where one is not said, its tests are skipped, loudly.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod corpus_files;
mod corpus_pools;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use corpus_pools::{machines, pools};
use selfsame_cpuid::{FEATURES, Feature, Kind, Relation, feature};
use selfsame_formats::Models;
use selfsame_formats::export::{Export, Target, export};
use serde_json::{Map, Value, json};

const POOLS: usize = 200;

fn tool(variable: &str) -> Option<String> {
    let path = std::env::var(variable).ok().filter(|path| !path.is_empty());
    if path.is_none() {
        // Not `eprintln`: the harness keeps what a passing test prints, and a skip must not look like a pass.
        let line = format!("SKIPPED: {}: {variable} is not set\n", std::thread::current().name().unwrap_or("a test"));
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    path
}

/// A QEMU at its monitor.
struct Qemu {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Qemu {
    fn start(binary: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary)
            .args(arguments)
            .args(["-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// Waits for the greeting; whether it came: QEMU makes its CPUs before.
    fn greets(&mut self) -> bool {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.contains("QMP") && self.ask(&json!({"execute": "qmp_capabilities"})).get("return").is_some()
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").unwrap();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "QEMU ended");
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer.get("return").is_some() || answer.get("error").is_some() {
                return answer;
            }
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The model and the properties of a line, as the monitor takes them.
fn model_of(line: &str) -> Value {
    let mut words = line.trim().strip_prefix("-cpu ").unwrap().split(',');
    let name = words.next().unwrap();
    let mut props = Map::new();
    for word in words {
        let (key, value) = match (word.strip_prefix('+'), word.strip_prefix('-'), word.split_once('=')) {
            (Some(name), ..) => (name, json!(true)),
            (_, Some(name), _) => (name, json!(false)),
            (.., Some(("vendor", text))) => ("vendor", json!(text)),
            (.., Some((name, number))) => {
                let number = number.strip_prefix("0x").map_or(number.parse(), |hex| u64::from_str_radix(hex, 16));
                (name, json!(number.unwrap()))
            }
            _ => panic!("{word}"),
        };
        props.insert(key.to_owned(), value);
    }
    json!({"name": name, "props": props})
}

/// Features of which QEMU can be told and tells.
fn tellable(row: &&Feature) -> bool {
    !matches!(row.relation, Relation::Derived | Relation::Dynamic | Relation::Local | Relation::Descriptive)
        && !row.place.to_string().starts_with("40000001")
}

/// What QEMU says of a feature, under whichever name.
fn told(props: &Map<String, Value>, row: &Feature) -> Option<bool> {
    [row.name].iter().chain(row.aliases).find_map(|name| props.get(*name)?.as_bool())
}

#[test]
fn qemu_expands_our_lines_to_exactly_the_level() {
    let Some(binary) = tool("SELFSAME_QEMU") else { return };
    let mut qemu = Qemu::start(&binary, &["-machine", "none"]);
    assert!(qemu.greets());
    let models = qemu.ask(&json!({"execute": "query-cpu-definitions"}));
    let models: BTreeSet<String> =
        models["return"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    let base = json!({"type": "full", "model": {"name": "base"}});
    let base = qemu.ask(&json!({"execute": "query-cpu-model-expansion", "arguments": base}));
    let known = base["return"]["model"]["props"].as_object().unwrap();
    let mut lines = 0;
    let has_vmx = |features: selfsame_cpuid::Featureset| features.contains(feature("vmx").unwrap().place);
    let mut faults = Vec::new();
    for pool in pools(machines(), Kind::Kvm, POOLS) {
        for target in [Target::Qemu, Target::QemuBase] {
            let Export { text: line, notes } = export(&pool.level, "pool", target, Models::known()).unwrap();
            let mut model = model_of(&line);
            // What this version does not know, the notes say that some version does not.
            let is_noted = |name: &str| {
                let mut known_later = notes.iter().filter(|note| note.reason.starts_with("known to QEMU"));
                known_later.any(|note| note.what.iter().any(|what| what == name))
            };
            let name = model["name"].as_str().unwrap().to_owned();
            if !models.contains(&name) {
                assert!(is_noted(&format!("model {name}")), "{line}: {notes:?}");
                continue;
            }
            let props = model["props"].as_object_mut().unwrap();
            props.retain(|name, _| {
                let is_known = known.contains_key(name);
                assert!(is_known || is_noted(name), "{name} of {line}: {notes:?}");
                is_known
            });
            lines += 1;
            let arguments = json!({"type": "full", "model": model});
            let answer = qemu.ask(&json!({"execute": "query-cpu-model-expansion", "arguments": arguments}));
            let Some(props) = answer["return"]["model"]["props"].as_object() else {
                faults.push(format!("{}: {line}: {answer}", pool.name()));
                continue;
            };
            let features = pool.level.features();
            for row in FEATURES.iter().filter(tellable) {
                let Some(found) = told(props, row) else { continue };
                if row.name.starts_with("vmx-") && !has_vmx(features) {
                    continue;
                }
                if found != features.contains(row.place) {
                    faults.push(format!("{target} {}: {} is {found}", pool.name(), row.name));
                }
            }
            let number = |key: &str| props[key].as_u64().unwrap();
            let signature = pool.level.leaves.signature();
            let said = (u64::from(signature.family), u64::from(signature.model), u64::from(signature.stepping));
            assert_eq!((number("family"), number("model"), number("stepping")), said);
            assert_eq!(number("phys-bits"), u64::from(pool.level.leaves.get(0x8000_0008, 0).eax & 0xff));
        }
    }
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    assert!(machines().is_empty() || lines > POOLS, "{lines}");
}

#[test]
fn models_mean_to_qemu_what_the_table_says() {
    let Some(binary) = tool("SELFSAME_QEMU") else { return };
    let mut qemu = Qemu::start(&binary, &["-machine", "none"]);
    assert!(qemu.greets());
    let (mut faults, mut count) = (Vec::new(), 0);
    for (name, model) in Models::known().iter() {
        let arguments = json!({"type": "full", "model": {"name": name}});
        let answer = qemu.ask(&json!({"execute": "query-cpu-model-expansion", "arguments": arguments}));
        // Models of another version of QEMU, and those that only libvirt has.
        let Some(props) = answer["return"]["model"]["props"].as_object() else { continue };
        count += 1;
        for row in FEATURES.iter().filter(tellable) {
            let Some(found) = told(props, row) else { continue };
            // TCG adds the first and takes the second away. VMX controls hang on others: our lines say each.
            let is_changed = matches!(row.name, "hypervisor" | "vme") || row.name.starts_with("vmx-");
            if !is_changed && found != model.qemu_features.contains(row.place) {
                faults.push(format!("{name}: {} is {found}", row.name));
            }
        }
    }
    assert!(count > 100, "{count}");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn qemu_starts_with_our_lines() {
    let Some(binary) = tool("SELFSAME_QEMU") else { return };
    for pool in pools(machines(), Kind::Kvm, POOLS) {
        for target in [Target::Qemu, Target::QemuBase] {
            let line = export(&pool.level, "pool", target, Models::known()).unwrap().text;
            let argument = line.trim().strip_prefix("-cpu ").unwrap();
            let mut qemu = Qemu::start(&binary, &["-machine", "pc", "-cpu", argument]);
            assert!(qemu.greets(), "{}: {line}", pool.name());
        }
    }
}

/// A folder of its own for files that a tool reads.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn libvirts_schema_accepts_our_definitions() {
    let Some(virsh) = tool("SELFSAME_VIRSH") else { return };
    let folder = folder("define");
    let mut files = Vec::new();
    for pool in pools(machines(), Kind::Kvm, POOLS) {
        for target in [Target::Libvirt, Target::LibvirtRaw] {
            let cpu = export(&pool.level, "pool", target, Models::known()).unwrap().text;
            let name = format!("guest{}", files.len());
            let domain = format!(
                "<domain type='test'><name>{name}</name><memory>1024</memory><os><type arch='x86_64'>hvm</type></os>{cpu}</domain>"
            );
            let file = folder.join(&name);
            std::fs::write(&file, domain).unwrap();
            files.push(file);
        }
    }
    // libvirt's test driver knows no cpu-compare; it checks a domain against the schema when it is defined.
    let commands: Vec<String> = files.iter().map(|file| format!("define --validate {}", file.display())).collect();
    let output = Command::new(&virsh).args(["-c", "test:///default", &commands.join("; ")]).output().unwrap();
    let defined = String::from_utf8_lossy(&output.stdout).matches("defined from").count();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && defined == files.len(), "{defined} of {}: {errors}", files.len());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn libvirt_knows_every_name_in_our_definitions() {
    let Some(virsh) = tool("SELFSAME_VIRSH") else { return };
    let folder = folder("baseline");
    for machines in machines() {
        let mut text = String::new();
        for pool in pools(std::slice::from_ref(machines), Kind::Kvm, POOLS) {
            for target in [Target::Libvirt, Target::LibvirtRaw] {
                let cpu = export(&pool.level, "pool", target, Models::known()).unwrap().text;
                // The CPU of a host has no mode, and no feature taken away: what counts here is the names.
                let lines = cpu.lines().filter(|line| !line.contains("maxphysaddr"));
                let lines = lines.map(|line| if line.starts_with("<cpu") { "<cpu><arch>x86_64</arch>" } else { line });
                let host: String = lines.collect();
                text.push_str(
                    &host
                        .replace(" fallback='forbid'", "")
                        .replace(" policy='require'", "")
                        .replace(" policy='disable'", ""),
                );
            }
        }
        let file = folder.join("hosts.xml");
        std::fs::write(&file, text).unwrap();
        let output = Command::new(&virsh).args(["-c", "test:///default", "cpu-baseline"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
