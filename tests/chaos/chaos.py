#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills training runs at random moments and compares what they end in.

    tests/chaos/chaos.py --binary build/ci/src/dstrain --runs 200 --result benchmarks/results/chaos.md

Every run is one small job on 4 ranks with `reproducible: true`. It is stopped at a random moment (also while it saves):
kill -9 of one rank, of all ranks, of mpirun; SIGTERM or SIGUSR1 to one rank, SIGUSR1 to mpirun. It is then resumed on a
random number of ranks at a random ZeRO stage, stopped again with some probability, and at last left alone. Checked:

- the weights at the end have the SHA-256 of the undisturbed run;
- no resume finds its newest complete checkpoint damaged;
- a run that was asked to stop (SIGTERM, SIGUSR1) ends with 75 and loses nothing, or with 0 where no step was left; also
  where the signal came while it started, once the program had taken it over from the system;
- work lost, completed steps beyond the newest complete checkpoint, is at most one interval (async_checkpoint_max_lag
  is 0 at this interval: a checkpoint is complete before the next step is).

Signals go to processes that are the program's already, not to what mpirun is still turning into one. Exit code 0 where
all hold. Needs mpirun and nothing beside Python's own library.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

KINDS = ["kill -9 of one rank", "kill -9 of all ranks", "kill -9 of mpirun", "SIGTERM to one rank",
         "SIGUSR1 to one rank", "SIGUSR1 to mpirun"]
SAVE_STEPS = 4


def arguments(description, work):
    """What the scripts of this folder take."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--work", default=work, help="a folder, emptied first")
    parser.add_argument("--result", help="a Markdown file")
    return parser


def parsed(parser):
    """The arguments, and the empty folder to work in."""
    args = parser.parse_args()
    args.binary = os.path.realpath(args.binary)
    work = pathlib.Path(args.work)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return args, work


def environment():
    env = dict(os.environ)
    env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
               OMPI_MCA_hwloc_base_binding_policy="none", OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_pml="ob1",
               OMPI_MCA_btl="self,vader,tcp", OMPI_MCA_btl_base_warn_component_unused="0", OMP_NUM_THREADS="1")
    return env


def command(args, folder, ranks, stage):
    return ["mpirun", "-np", str(ranks), args.binary, "train", "--model_name_or_path", "preset:nano", "--dataset",
            "synthetic", "--synthetic_rows", "64", "--cutoff_len", str(args.cutoff_len), "--stage", "pt",
            "--finetuning_type", "full", "--do_train", "--learning_rate", "1e-3", "--max_steps", str(args.steps),
            "--per_device_train_batch_size", "1", "--virtual_ranks", "4", "--reproducible", "true", "--zero_stage",
            str(stage), "--logging_steps", "1", "--save_steps", str(SAVE_STEPS), "--save_total_limit", "3", "--threads",
            "1", "--output_dir", str(folder)]


def children_of(pid):
    try:
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def ranks_of(launcher, binary):
    """Children of the launcher that run the program."""
    found = []
    for pid in children_of(launcher.pid):
        try:
            if os.readlink(f"/proc/{pid}/exe") == binary:
                found.append(pid)
        except OSError:
            pass
    return found


def catches(pid, number):
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return bool(int(re.search(r"SigCgt:\s*(\w+)", status).group(1), 16) >> (number - 1) & 1)
    except (OSError, AttributeError):
        return False


def strike(kind, launcher, processes, rng):
    """Signals; returns whether all whom a request to stop reaches had taken the signal over."""
    one = rng.choice(processes)
    asked = False
    if kind == "kill -9 of one rank":
        send(one, signal.SIGKILL)
    elif kind == "kill -9 of all ranks":
        for p in processes:
            send(p, signal.SIGKILL)
    elif kind == "kill -9 of mpirun":
        send(launcher.pid, signal.SIGKILL)
    elif kind == "SIGTERM to one rank":
        asked = catches(one, signal.SIGTERM)
        send(one, signal.SIGTERM)
    elif kind == "SIGUSR1 to one rank":
        asked = catches(one, signal.SIGUSR1)
        send(one, signal.SIGUSR1)
    else:
        asked = all(catches(p, signal.SIGUSR1) for p in processes)
        send(launcher.pid, signal.SIGUSR1)
    return asked


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def end_of(launcher, processes, patience=90):
    """Waits for the launcher and for ranks that it left behind."""
    deadline = time.time() + patience
    try:
        code = launcher.wait(patience)
    except subprocess.TimeoutExpired:
        launcher.kill()
        code = "hang"
    while any(alive(p) for p in processes):
        if time.time() > deadline:
            for p in processes:
                send(p, signal.SIGKILL)
            code = "hang"
        time.sleep(0.02)
    return code


def log_of(folder):
    """Text and time of the log."""
    path = folder / "trainer_log.jsonl"
    try:
        return path.read_text(), path.stat().st_mtime_ns
    except OSError:
        return "", 0


def new_lines(before, after, anew):
    """What an attempt added. @param anew  it found no checkpoint, so that it begins a new log where it gets that far"""
    if anew:
        return [] if after == before else after[0].splitlines()
    return after[0][len(before[0]):].splitlines()


def last_logged(lines, otherwise):
    """The step of the last whole line."""
    for line in reversed(lines):
        try:
            return json.loads(line)["current_steps"]
        except (ValueError, KeyError):
            continue
    return otherwise


def newest_complete(folder):
    steps = [int(p.name.split("-")[1]) for p in folder.glob("checkpoint-*")
             if p.name.split("-")[1].isdigit() and (p / "manifest.json").exists()]
    return max(steps, default=0)


def sha256(folder):
    digest = hashlib.sha256()
    digest.update((folder / "model.safetensors").read_bytes())
    return digest.hexdigest()


def start(args, folder, ranks, stage, log):
    return subprocess.Popen(command(args, folder, ranks, stage), stdout=log, stderr=log, env=environment(),
                            start_new_session=True)


def one_run(args, number, expected, duration, training):
    """Returns what happened as a dictionary; 'problem' is empty where all is well."""
    rng = random.Random(args.seed * 100003 + number)
    folder = pathlib.Path(args.work) / f"run-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    out = folder / "out"
    record = {"number": number, "strikes": [], "problem": ""}
    ranks, stage = 4, rng.randrange(4)
    strikes = 1 + (rng.random() < 0.3) + (rng.random() < 0.1)
    for attempt in range(strikes + 1):
        final = attempt == strikes
        before = newest_complete(out) if out.exists() else 0
        log_before = log_of(out)
        log_path = folder / f"log-{attempt}.txt"
        with open(log_path, "wb") as log:
            launcher = start(args, out, ranks, stage, log)
            processes = []
            kind, asked = "none", False
            if not final:
                kind = rng.choice(KINDS)
                # A quarter of the moments is anywhere, a quarter after the first step, the others while a checkpoint is
                # being written.
                where, share = rng.random(), rng.random()
                moment = time.time() + 1.1 * share * duration
                while launcher.poll() is None and where > 0.25 and not new_lines(log_before, log_of(out), before == 0):
                    time.sleep(0.003)
                    moment = time.time() + 1.1 * share * training
                while launcher.poll() is None and time.time() < moment:
                    if where > 0.5 and any(out.glob("checkpoint-*.part")) and rng.random() < 0.3:
                        break
                    time.sleep(0.003)
                while launcher.poll() is None and len(processes) < ranks:
                    processes = ranks_of(launcher, args.binary)
                    time.sleep(0.001)
                if launcher.poll() is None:
                    asked = strike(kind, launcher, processes, rng)
            code = end_of(launcher, processes)
        text = log_path.read_text(errors="replace")
        if code == "hang" and "exited on signal" in text and "  ranks  " not in text:
            code = "launcher"  # mpirun saw a rank die before it had connected, and does not end by itself
        elif code == "hang":
            record["problem"] = f"attempt {attempt} ({kind}) hung"
        found = re.search(r"resumed from \S+ at step (\d+)", text)
        if found and int(found.group(1)) != before:
            record["problem"] = f"attempt {attempt} resumed from step {found.group(1)}, the newest was {before}"
        if "is damaged" in text:
            record["problem"] = f"attempt {attempt} found its newest checkpoint damaged"
        reached = last_logged(new_lines(log_before, log_of(out), before == 0), before)
        newest = newest_complete(out) if out.exists() else 0
        record["strikes"].append({"kind": kind, "ranks": ranks, "stage": stage, "exit": code, "from": before,
                                  "reached": reached, "lost": reached - newest, "early": "stopping before" in text})
        if not final and reached - newest > SAVE_STEPS:
            record["problem"] = f"attempt {attempt} ({kind}) lost {reached - newest} steps"
        if code == 75 and newest != reached:
            record["problem"] = f"attempt {attempt} ended with 75 at step {reached} without its checkpoint"
        if asked and code not in (0, 75):
            record["problem"] = f"attempt {attempt} was asked to stop ({kind}) and ended with {code}: {text[-400:]}"
        if final and code != 0:
            record["problem"] = f"the last attempt ended with {code}: {text[-400:]}"
        if record["problem"]:
            return record
        if code == 0:
            break  # the strike came too late, or this was the last attempt
        ranks, stage = rng.choice([1, 2, 3, 4]), rng.randrange(4)
    record["sha256"] = sha256(out)
    if record["sha256"] != expected:
        record["problem"] = "other weights than the undisturbed run"
    shutil.rmtree(folder, ignore_errors=True)
    return record


def main():
    parser = arguments(__doc__, "/tmp/dstrain-chaos")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--cutoff_len", type=int, default=64)
    parser.add_argument("--numbers", help="only these runs: 1,101")
    args, work = parsed(parser)

    begin = time.time()
    with open(work / "undisturbed.txt", "wb") as log:
        launcher = start(args, work / "undisturbed", 4, 3, log)
        while launcher.poll() is None and not log_of(work / "undisturbed")[0]:
            time.sleep(0.003)
        first_step = time.time()
        code = end_of(launcher, [])
    duration, training = time.time() - begin, time.time() - first_step
    if code != 0:
        sys.exit(f"the undisturbed run ended with {code}:\n" + (work / "undisturbed.txt").read_text())
    expected = sha256(work / "undisturbed")
    print(f"undisturbed: {duration:.1f} s, {training:.1f} s of them after the first step, SHA-256 {expected}",
          flush=True)

    records = []
    with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
        jobs = [pool.submit(one_run, args, n, expected, duration, training) for n in (
            map(int, args.numbers.split(",")) if args.numbers else range(args.runs))]
        for job in concurrent.futures.as_completed(jobs):
            record = job.result()
            records.append(record)
            print(json.dumps(record), flush=True)
    problems = [r for r in records if r["problem"]]
    struck = [s for r in records for s in r["strikes"] if s["kind"] != "none" and s["exit"] != 0]
    lost = [s["lost"] for s in struck]
    kinds = collections.Counter(s["kind"] for s in struck)
    too_late = sum(1 for r in records for s in r["strikes"] if s["kind"] != "none" and s["exit"] == 0)
    same = sum(1 for r in records if r.get("sha256") == expected)
    resumes = collections.Counter((s["ranks"], s["stage"]) for r in records for s in r["strikes"][1:])
    lines = [f"- {len(records)} runs of {args.steps} steps on 4 ranks, a checkpoint every {SAVE_STEPS} steps, seed "
             f"{args.seed}, {time.time() - begin:.0f} s, {args.workers} at a time",
             f"- undisturbed weights: SHA-256 {expected}",
             f"- ended in the same SHA-256: {same} of {len(records)}",
             f"- strikes that ended a run: {len(struck)}, of which after its first step "
             f"{sum(s['reached'] > s['from'] for s in struck)} (" +
             ", ".join(f"{k}: {n}" for k, n in sorted(kinds.items())) + f"); too late to matter: {too_late}",
             f"- resumes: {sum(resumes.values())} on {len(resumes)} pairs of ranks and stage",
             "- mpirun that did not end after a rank died before the program began (ended by the script): "
             f"{sum(s['exit'] == 'launcher' for s in struck)}",
             f"- newest complete checkpoint unreadable: {sum('damaged' in r['problem'] for r in records)}",
             f"- completed steps lost by a strike: most {max(lost, default=0)}, mean {sum(lost) / max(len(lost), 1):.2f}"
             f"; more than one interval: {sum(n > SAVE_STEPS for n in lost)}",
             "- asked to stop: ended with 75 " + f"{sum(s['exit'] == 75 for s in struck)} times, of which before the "
             f"first step {sum(s['exit'] == 75 and s['early'] for s in struck)}",
             f"- problems: {len(problems)}"] + [f"  - run {r['number']}: {r['problem']}" for r in problems]
    print("\n".join(lines))
    if args.result:
        pathlib.Path(args.result).write_text("# Chaos: runs that are killed, resumed elsewhere, and compared\n\n" +
                                             "\n".join(lines) + "\n")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
