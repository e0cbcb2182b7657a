#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_packaging.py TREE DSTRAIN - what can be known of packaging/ without Docker, Apptainer and Spack: files parse, every
command is good shell, every file they copy is there, every preset exists, both images install by scripts/install-deps.sh, the
runtime packages of DSTRAIN can be found, module files set what the installation has."""
import json
import pathlib
import re
import shutil
import subprocess
import sys

tree = pathlib.Path(sys.argv[1])
program = sys.argv[2]
packaging = tree / "packaging"
presets = {p["name"] for p in json.loads((tree / "CMakePresets.json").read_text())["configurePresets"]}


def check(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")


def is_shell(text, where):
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    check(done.returncode == 0, f"{where}: {done.stderr}")


def builds_by_the_scripts(text, where):
    check("scripts/install-deps.sh" in text, f"{where} does not install by scripts/install-deps.sh")
    check("packaging/runtime-packages.sh" in text, f"{where} does not ask for the runtime packages")


def dockerfile():
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"}
    lines = (packaging / "Dockerfile").read_text()
    lines = "\n".join(line for line in lines.splitlines() if not line.lstrip().startswith("#"))
    instructions = [i.split(None, 1) for i in re.sub(r"\\\n", " ", lines).splitlines() if i.strip()]
    arguments, stages = set(), {}
    for word, rest in instructions:
        check(word in known, f"Dockerfile: {word} is no instruction")
        if word == "ARG":
            arguments.add(rest.split("=")[0])
        elif word == "FROM":
            base, as_word, stage = rest.split()
            check(as_word == "AS" and re.fullmatch(r"\$\{(\w+)\}", base)[1] in arguments, f"Dockerfile: FROM {rest}")
            stages[stage] = current = []
        elif word == "COPY":
            *sources, _ = rest.split()
            if sources[0].startswith("--from="):
                check(sources.pop(0)[7:] in stages, f"Dockerfile: COPY {rest}: no such stage above")
            else:
                check(all((tree / s).exists() for s in sources), f"Dockerfile: COPY {rest}: not in the tree")
        elif word == "RUN":
            is_shell(rest, "Dockerfile")
            current.append(rest)
        elif word in ("ENTRYPOINT", "CMD"):
            check(isinstance(json.loads(rest), list), f"Dockerfile: {word} {rest}")
    check(set(stages) == {"build-cpu", "build-cuda", "cpu", "cuda"}, f"Dockerfile: stages {set(stages)}")
    check(list(stages)[-1] == "cpu", "Dockerfile: without --target the CPU image is meant")
    for kind in ("cpu", "cuda"):
        commands = "\n".join(stages[f"build-{kind}"])
        builds_by_the_scripts(commands, f"Dockerfile, build-{kind}")
        check(set(re.findall(r"--preset (\w+)", commands)) == {kind} and kind in presets, f"Dockerfile: preset of build-{kind}")


def apptainer():
    text = (packaging / "dstrain.def").read_text()
    default = dict(re.findall(r"^    (base|preset)=(.+)$", text, re.M))
    check(default.get("preset") in presets, "dstrain.def: its preset does not exist")
    for name in set(re.findall(r"\{\{ *(\w+) *\}\}", text)):
        check(name in default, f"dstrain.def: {name} has no value in %arguments")
    filled = re.sub(r"\{\{ *(\w+) *\}\}", lambda m: default[m[1]], text)
    sections = re.findall(r"^%(\w+)(?: from (\w+))?\n((?:(?!^%|^Bootstrap:).*\n?)*)", filled, re.M)
    check({s[0] for s in sections} <= {"arguments", "files", "post", "environment", "runscript", "test"}, "dstrain.def: sections")
    stages = re.findall(r"^Stage: (\w+)$", text, re.M)
    for name, stage, body in sections:
        if name in ("post", "environment", "runscript", "test"):
            is_shell(body, f"dstrain.def, %{name}")
        if name == "files":
            check(not stage or stage in stages, f"dstrain.def: %files from {stage}")
            for line in body.split("\n") if not stage else []:
                check(not line.strip() or (tree / line.split()[0]).exists(), f"dstrain.def: {line.strip()} is not in the tree")
    builds_by_the_scripts([body for name, _, body in sections if name == "post"][0], "dstrain.def")


def compose():
    try:
        import yaml
    except ImportError:
        print("not checked: compose.yaml (python3-yaml is not installed)")
        return
    file = yaml.safe_load((packaging / "compose.yaml").read_text())
    services = file["services"]
    ranks = []
    for name, service in services.items():
        words = service["command"]
        flags = dict(w[2:].split("=", 1) for w in words if w.startswith("--"))
        ranks.append(int(flags["node_rank"]))
        check(words[0] == "launch" and int(flags["nnodes"]) == len(services), f"compose.yaml: nodes of {name}")
        check(flags["master_addr"] in services, f"compose.yaml: {flags['master_addr']} is no service")
        check(set(service["networks"]) <= set(file["networks"]), f"compose.yaml: networks of {name}")
        check({s["source"] for s in service["secrets"]} <= set(file["secrets"]), f"compose.yaml: secrets of {name}")
    check(sorted(ranks) == list(range(len(services))), f"compose.yaml: node ranks {ranks}")


def spack():
    source = (packaging / "spack/package.py").read_text()
    compile(source, "package.py", "exec")
    for wanted in re.findall(r"^find_package\((\w+) REQUIRED", (tree / "cmake/DstrainDependencies.cmake").read_text(), re.M):
        name = {"MPI": "mpi", "HDF5": "hdf5", "yaml": "yaml-cpp", "nlohmann_json": "nlohmann-json", "CLI11": "cli11",
                "fmt": "fmt", "ICU": "icu4c", "OpenMP": None, "Threads": None}.get(wanted.split("-")[0], wanted)
        check(name is None or f'depends_on("{name}' in source, f"package.py lacks {wanted}")


def modules():
    tcl, lua = ((packaging / "modulefiles" / f"dstrain.{kind}").read_text() for kind in ("tcl", "lua"))
    for text in (tcl, lua):
        check("share/dstrain/slurm" in text and "bin" in text, "a module file does not set what is installed")
    if shutil.which("tclsh"):
        commands = "\n".join(f"proc {c} args {{}}" for c in ("module-whatis", "conflict", "prepend-path", "setenv"))
        done = subprocess.run(["tclsh"], input=commands + "\n" + tcl, text=True, capture_output=True)
        check(done.returncode == 0 and not done.stderr, f"dstrain.tcl: {done.stderr}")


def runtime_packages():
    if not shutil.which("dpkg-query"):
        print("not checked: runtime-packages.sh (no dpkg)")
        return
    done = subprocess.run([packaging / "runtime-packages.sh", program], text=True, capture_output=True)
    check(done.returncode == 0, f"runtime-packages.sh: {done.stderr}")
    names = done.stdout.split()
    for wanted in ("libopenmpi", "libhdf5-openmpi", "libdnnl", "libhwloc", "openmpi-bin"):
        check(any(n.startswith(wanted) for n in names), f"runtime-packages.sh does not name {wanted}: {names}")


for step in (dockerfile, apptainer, compose, spack, modules, runtime_packages):
    step()
print("packaging: good")
