"""Searches of the store and of the real MLflow on one file: search_differential_test.py PROGRAM COUNT [SEED]

A corpus with awkward keys and values, and COUNT generated searches, good and bad ones. Both must give the
same rows in the same order and the same page token, or both must refuse. Two exceptions: what MLflow's SQL
tokenizer lets through by accident (see ACCIDENTS) Mizzen may refuse, and more joins than SQLite can do
(63) only MLflow refuses.
"""
import json
import math
import os
import random
import re
import sqlite3
import subprocess
import sys
import tempfile

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
PROGRAM, COUNT = os.path.abspath(sys.argv[1]), int(sys.argv[2])
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 20260

from mlflow.entities import ViewType
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

KEYS = ["acc", "Acc", "loss/train", "a b", "a.b", "a-b", "naïve", "日本", "_x", "1abc", "12a", "it's", 'say "x"',
        "from", "case", "in", "order", "tick`ed", "per%cent", "und_er", "k" * 250, "a:b", "a::b", "é", "Run Name"]
TEXTS = ["", "a", "A", "adam", "Adam", "ADAM", "a%m", "a_m", "axm", "100%", "it's", 'say "hi"', "`tick`", "\\", "a\\",
         "naïve", "NAÏVE", "日本語", "😀", "x" * 500, "0.1", "1", "nan", "NULL", " lead", "trail ", "line\nbreak", "'q'", "true", "false"]
NUMBERS = [0.0, -0.0, 1.0, 0.5, -1.5, 1e-9, 1e300, math.nan, sys.float_info.max, -sys.float_info.max, 3.0, 2.0]
STATUSES = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
PROMPT = "mlflow.prompt.is_prompt"
# Outside quotes: what Mizzen refuses although sqlparse makes something of it, and MLflow takes it.
ACCIDENTS = re.compile(r"[*\[\]@#$%´?\\/+{}]|--|->|\w\(|[^\x00-\x7f]", re.UNICODE)


def write_corpus(path, rng, runs=250):
    db = sqlite3.connect(path)
    many = db.executemany
    stage = lambda: "deleted" if rng.random() < 0.1 else "active"
    for i in range(1, 12):
        many("INSERT INTO experiments VALUES (?,?,?,?,?,?,'default')",
             [(i, rng.choice(TEXTS[1:])[:40] + f"-{i}" if i > 4 else ["exp", "Exp", "e%p", "e_p"][i - 1], f"/a/{i}",
               "active" if i < 4 else stage(), rng.choice([1000, 2000, i]), rng.choice([1000, 2000, i]))])
        many("INSERT INTO experiment_tags VALUES (?,?,?)",
             [(k, rng.choice(TEXTS), i) for k in rng.sample(KEYS, 6)])
    ids = [f"{rng.getrandbits(128):032x}" for _ in range(runs)]
    for n, run in enumerate(ids):
        end = None if rng.random() < 0.3 else rng.choice([10, 20, 30 + n])
        many("INSERT INTO runs VALUES (?,?,'LOCAL','','',?,?,?,?,'',?,?,?,NULL)",
             [(run, rng.choice(TEXTS), rng.choice(["ann", "Ann", "bob", "b%b"]), rng.choice(STATUSES),
               rng.choice([1, 2, 3, n]), end, stage(), rng.choice([f"/a/{n}", None, "/a/%"]), rng.randint(0, 3))])
        many("INSERT INTO latest_metrics VALUES (?,?,?,?,?,?)",
             [(k, 0.0 if math.isnan(v) else v, 5, 0, math.isnan(v), run)
              for k in rng.sample(KEYS, 9) for v in [rng.choice(NUMBERS)]])
        many("INSERT INTO params VALUES (?,?,?)", [(k, rng.choice(TEXTS), run) for k in rng.sample(KEYS, 8)])
        tags = {k: rng.choice(TEXTS) for k in rng.sample(KEYS, 8)}
        if rng.random() < 0.8:
            tags["mlflow.runName"] = rng.choice(TEXTS)
        if rng.random() < 0.1:
            tags["acc"] = None
        many("INSERT INTO tags VALUES (?,?,?)", [(k, v, run) for k, v in tags.items()])
    for i in range(20):
        many("INSERT INTO datasets VALUES (?,?,?,?,'local','{}',NULL,NULL)",
             [(f"d{i}", rng.randint(0, 3), rng.choice(TEXTS), f"digest{i}")])
    for n, run in enumerate(rng.sample(ids, runs // 2)):
        for d in rng.sample(range(20), rng.randint(1, 3)):
            many("INSERT INTO inputs VALUES (?,'DATASET',?,'RUN',?,0)", [(f"i{n}-{d}", f"d{d}", run)])
            if rng.random() < 0.7:
                many("INSERT INTO input_tags VALUES (?,'mlflow.data.context',?)",
                     [(f"i{n}-{d}", rng.choice(["training", "eval", "it's", "Training"]))])
    names = [f"{rng.choice(['net', 'Net', 'n%t', 'n_t'])} {i}" if i % 3 else f"model{i}" for i in range(25)]
    for name in names:
        times = [rng.choice([None, 5, 6, 7]), rng.choice([None, 5, 6, 7])]
        many("INSERT INTO registered_models VALUES (?,?,?,NULL,'default')", [(name, *times)])
        tags = {k: rng.choice(TEXTS) for k in rng.sample(KEYS, 6)}
        prompt = rng.random() < 0.3
        if prompt:
            tags[PROMPT] = rng.choice(["true", "false", "True"])
        many("INSERT INTO registered_model_tags VALUES (?,?,?,'default')", [(k, v, name) for k, v in tags.items()])
        for v in range(1, rng.randint(1, 5)):
            many("INSERT INTO model_versions VALUES (?,?,?,?,NULL,NULL,?,?,?,'READY',NULL,NULL,?,'default')",
                 [(name, v, rng.choice([None, 5, 6]), rng.choice([5, 6]),
                   "Deleted_Internal" if rng.random() < 0.1 else "None", rng.choice(["s", "S", "src/%", "it's"]),
                   rng.choice([None, *ids[:3]]), None)])
            mine = {k: rng.choice(TEXTS) for k in rng.sample(KEYS, 5)}
            if prompt and rng.random() < 0.8:
                mine[PROMPT] = "true"
            many("INSERT INTO model_version_tags VALUES (?,?,?,?,'default')", [(k, x, name, v) for k, x in mine.items()])
    models = [f"m-{rng.getrandbits(128):032x}" for _ in range(60)]
    for m in models:
        exp, run = rng.randint(0, 3), rng.choice(ids)
        many("INSERT INTO logged_models VALUES (?,?,?,'/x',?,?,?,?,?,?,NULL)",
             [(m, exp, rng.choice(["net", "Net", "n%t"]), rng.choice([5, 6, 7]), rng.choice([5, 6]), rng.choice([1, 2, 3]),
               stage(), rng.choice([None, "agent", "Agent"]), rng.choice([None, run]))])
        many("INSERT INTO logged_model_params VALUES (?,?,?,?)", [(m, exp, k, rng.choice(TEXTS)) for k in rng.sample(KEYS, 6)])
        many("INSERT INTO logged_model_tags VALUES (?,?,?,?)", [(m, exp, k, rng.choice(TEXTS)) for k in rng.sample(KEYS, 6)])
        points = {(m, k, rng.choice([5, 6]), rng.choice([0, 1])): v for k in KEYS[:8]
                  for v in rng.sample([0.0, 0.5, 1.0, -2.0], rng.randint(0, 3))}
        many("INSERT INTO logged_model_metrics VALUES (?,?,?,?,?,?,?,NULL,?,?)",
             [(*at, v, exp, run, *rng.choice([(None, None), ("train", "x"), ("test", "y")])) for at, v in points.items()])
    db.commit()
    db.close()
    return ids, names, models


class Generator:
    """Filters and orders, most of them good."""

    ATTRIBUTES = {
        "runs": ["run_id", "run_name", "status", "user_id", "artifact_uri", "start_time", "end_time", "created", "Created",
                 '"run name"', "`Run Name`", "lifecycle_stage", "experiment_id", "nothing"],
        "experiments": ["name", "experiment_id", "creation_time", "last_update_time", "nothing"],
        "registered_models": ["name", "`name`", "timestamp", "last_updated_timestamp", "nothing"],
        "model_versions": ["name", "version_number", "run_id", "source_path", "creation_timestamp", "last_updated_timestamp",
                           "source", "version"],
        "logged_models": ["name", "model_id", "model_type", "status", "source_run_id", "creation_timestamp", "creation_time",
                          "last_updated_timestamp", "creation_timestamp_ms", "experiment_id", "nothing"],
    }
    GOOD = {"runs": 11, "experiments": 4, "registered_models": 1, "model_versions": 4, "logged_models": 10}
    PREFIXES = {
        "runs": ["metrics", "metric", "params", "param", "parameter", "parameters", "tags", "tag", "`tags`", "dataset", "datasets"],
        "experiments": ["tags", "tag", "params"],
        "registered_models": ["tags", "tag", "metrics"],
        "model_versions": ["tags", "tag", "params"],
        "logged_models": ["metrics", "params", "tags", "tag"],
    }  # the last of each is wrong, but for runs

    def __init__(self, rng, ids, names, models):
        self.rng, self.ids, self.names, self.models = rng, ids, names, models

    def quoted(self, text):
        style = self.rng.random()
        if "'" in text and '"' not in text and style < 0.8:
            return f'"{text}"'
        return f'"{text}"' if style < 0.15 else f"'{text}'"

    def key(self):
        key = self.rng.choice(KEYS)
        style = self.rng.random()
        if re.fullmatch(r"\w+", key) and style < 0.5:
            return key
        if style < 0.06:
            return key
        return f'"{key}"' if style > 0.7 and '"' not in key or "`" in key else f"`{key}`"

    def text(self):
        rng = self.rng
        value = rng.choice(TEXTS + [rng.choice(self.ids), rng.choice(self.names), rng.choice(self.models), "FINISHED", "5", "2", "exp", "READY"])
        if rng.random() < 0.3 and value:
            at = rng.randrange(len(value))
            value = value[:at] + rng.choice("%_") + value[at + rng.randint(0, 1):]
        return value

    def number(self):
        if self.rng.random() < 0.06:
            return self.rng.choice(["99999999999999999999", "0x10", "1e+5", "+1", "1_0", "5abc", "1.5abc", "nan", "inf"])
        return self.rng.choice(["0", "1", "2", "3", "5", "6", "10", "30", "007", "-0", "-1.5", "0.5", ".5", "1.", "1e-9", "1e300", "1E5", "1e999"])

    def listed(self, what):
        rng = self.rng
        pool = self.ids if what == "runs" else self.names + self.ids + ["1", "2", "net", "adam"]
        items = [self.quoted(rng.choice(pool + TEXTS) if rng.random() < 0.4 else rng.choice(pool)) for _ in range(rng.randint(1, 4))]
        if rng.random() < 0.1:
            items.append(rng.choice(["1", "", "x", r"'it\'s'", r"'\x41'", "r'a'", "b'a'", "('a')", "'a' 'b'"]))
        return "(" + rng.choice([", ", ","]).join(items) + ")"

    def clause(self, what):
        rng = self.rng
        if rng.random() < 0.4:
            names = self.ATTRIBUTES[what]
            name = rng.choice(names if rng.random() < 0.15 else names[:self.GOOD[what]])
            prefix = rng.random() if rng.random() < 0.3 else 1
            name = ("attributes." if prefix < 0.15 else "attribute." if prefix < 0.3 else "attr." if prefix < 0.35 else "") + name
            kind = "number" if re.search("time|Created|created|version_n", name) else "text"
        elif what in ("registered_models", "model_versions") and rng.random() < 0.15:
            return f"tags.`{PROMPT}` {rng.choice(['=', '!='])} {rng.choice(['true', 'false', 'True'])!r}"
        else:
            prefix = rng.choice(self.PREFIXES[what] if what == "runs" or rng.random() < 0.1 else self.PREFIXES[what][:-1])
            if prefix.startswith("dataset"):
                name, kind = f"{prefix}.{rng.choice(['name', 'digest', 'context'] if rng.random() < 0.95 else ['size'])}", "text"
            else:
                name, kind = f"{prefix}.{self.key()}", "number" if prefix.startswith("metric") else "text"
        choice = rng.random()
        if choice < (0.12 if name.startswith(("tag", "param")) and what in ("runs", "experiments") else 0.01):
            return f"{name} {rng.choice(['IS NULL', 'IS NOT NULL', 'is null', 'is not null', 'IS NOT  NULL'])}"
        lists = "run_id" in name or "name" in name and "run" not in name or "dataset" in name or "experiment_id" in name or what == "logged_models"
        if choice < (0.4 if lists and kind == "text" else 0.01):
            return f"{name} {rng.choice(['IN', 'NOT IN', 'in', 'not in', 'NOT  IN'])} {self.listed(what)}"
        if rng.random() < 0.04:
            kind = "text" if kind == "number" else "number"
        if kind == "number":
            value, ops = self.number(), ["=", "!=", ">", ">=", "<", "<="]
        else:
            value, ops = self.quoted(self.text()), ["=", "!=", "LIKE", "ILIKE", "LIKE", "ILIKE"]
        if rng.random() < 0.05:
            ops = ["==", "<>", "like", "ilike", "NOT LIKE", "RLIKE", "BETWEEN", "IS", "~", "=>", ">", "LIKE"]
        op, space = rng.choice(ops), rng.choice([" ", " ", " ", "  ", "\n", ""])
        if op[0].isalpha():
            space = space or " "
        return f"{name}{space}{op}{space}{value}"

    def mutate(self, text):
        rng = self.rng
        at = rng.randint(0, len(text))
        piece = rng.choice(["'", '"', "`", ".", "(", ")", "=", "<", "!", "%", "_", " ", "\\", ",", ";", " OR ", " AND ", " NOT ", "::", "--",
                            " asc", "x", "7", "-", "/", "é", "\t", "\u00a0", "'a'", " NULL"])
        how = rng.random()
        return text[:at] + (piece if how < 0.7 else "") + text[at + (how > 0.4):]

    def filter(self, what):
        rng = self.rng
        text = self.clause(what)
        for _ in range(rng.choice([0, 0, 1, 1, 2, 4])):
            text += rng.choice([" AND ", " AND ", " and ", "\nAND\t", " ", " AND AND ", " OR "] if rng.random() < 0.2 else [" AND "])
            text += self.clause(what)
        return self.mutate(text) if rng.random() < 0.15 else text

    def order(self, what):
        rng = self.rng
        names = self.ATTRIBUTES[what]
        name = rng.choice(names[:-1] if rng.random() < 0.1 else names[:9] if what == "runs" else names[:6])
        if what == "logged_models":
            one = {"field_name": name if rng.random() < 0.5 else f"metrics.{rng.choice(KEYS[:8])}", "ascending": rng.random() < 0.5}
            if rng.random() < 0.3:
                one["dataset_name"] = rng.choice(["train", "test", "none"])
            return one
        if rng.random() < 0.6 and what == "runs" or rng.random() < 0.1:
            name = f"{rng.choice(self.PREFIXES[what][:9])}.{self.key()}"
        elif rng.random() < 0.3:
            name = rng.choice(["attribute.", "attributes."]) + name
        text = name + rng.choice(["", " asc", " desc", "  desc", " DESC NULLS LAST", " down"] if rng.random() < 0.15 else ["", " ASC", " DESC"])
        return self.mutate(text) if rng.random() < 0.05 else text

    def search(self):
        rng = self.rng
        what = rng.choice(["runs"] * 4 + ["experiments", "registered_models", "model_versions", "logged_models"])
        asked = {"what": what, "max_results": rng.choice([1, 2, 7, 50, 1000])}
        if rng.random() < 0.85:
            asked["filter"] = self.filter(what)
        if rng.random() < 0.6:
            asked["order_by"] = [self.order(what) for _ in range(rng.choice([1, 1, 2, 3]))]
        if what in ("runs", "experiments"):
            asked["stage"] = rng.choice(["active", "active", "deleted", "all"])
        if what in ("runs", "logged_models"):
            asked["experiment_ids"] = rng.sample(["0", "1", "2", "3"], rng.randint(1, 4))
        if what == "logged_models" and rng.random() < 0.2:
            asked["datasets"] = [{"dataset_name": rng.choice(["train", "test"])}]
        if rng.random() < 0.15 and what != "logged_models":
            from mlflow.utils.search_utils import SearchUtils

            asked["page_token"] = SearchUtils.create_page_token(rng.choice([1, 3, 10, 200])).decode()
        return asked


class Peer:
    VIEWS = {"active": ViewType.ACTIVE_ONLY, "deleted": ViewType.DELETED_ONLY, "all": ViewType.ALL}

    def __init__(self, uri, folder):
        self.tracking, self.registry = Tracking(uri, folder), Registry(uri)

    def search(self, asked):
        what, filter_, most = asked["what"], asked.get("filter"), asked["max_results"]
        order, token = asked.get("order_by"), asked.get("page_token")
        if what == "runs":
            found = self.tracking.search_runs(asked["experiment_ids"], filter_, self.VIEWS[asked["stage"]], most, order, token)
            ids = [r.info.run_id for r in found]
        elif what == "experiments":
            found = self.tracking.search_experiments(self.VIEWS[asked["stage"]], most, filter_, order, token)
            ids = [e.experiment_id for e in found]
        elif what == "registered_models":
            found = self.registry.search_registered_models(filter_, most, order, token)
            ids = [m.name for m in found]
        elif what == "model_versions":
            found = self.registry.search_model_versions(filter_, most, order, token)
            ids = [f"{v.name}/{v.version}" for v in found]
        else:
            found = self.tracking.search_logged_models(asked["experiment_ids"], filter_, asked.get("datasets"), most, order, token)
            ids = [m.model_id for m in found]
        token = found.token or b""
        return ids, token.decode() if isinstance(token, bytes) else token


def unquoted(text):
    return re.sub(r"'(?:''|\\'|[^'])*'|\"(?:\"\"|\\\"|[^\"])*\"|`[^`]*`", "q", text)


def is_accident(asked):
    filter_ = unquoted(asked.get("filter", ""))
    orders = [unquoted(o) for o in asked.get("order_by", []) if isinstance(o, str)]
    if any(ACCIDENTS.search(text) for text in [filter_, *orders]):
        return True
    # Two operands side by side, which SQL takes for a name and its alias.
    words = re.findall(r"[\w.]+|[<>=!~]+|[(),]", filter_)
    operand = [re.match(r"[\w.]", w) and w.upper() not in ("AND", "IN", "NOT", "IS", "NULL", "LIKE", "ILIKE") for w in words]
    if any(operand[i] and operand[i + 1] for i in range(len(words) - 1)):
        return True
    # Lists of logged models that hold numbers or bytes.
    return asked["what"] == "logged_models" and bool(re.search(r"[(,]\s*(?:bq|\d+)\s*[,)]", filter_))


def main():
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/mlflow.db"
        subprocess.run([PROGRAM, path], input=b"", check=True)  # makes the store
        corpus = write_corpus(path, rng)
        generator, peer = Generator(rng, *corpus), Peer(f"sqlite:///{path}", f"{folder}/artifacts")
        ours = subprocess.Popen([PROGRAM, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        seen = {"same": 0, "same, with rows": 0, "both refuse": 0, "accident": 0}
        bad = 0
        for _ in range(COUNT):
            asked = generator.search()
            ours.stdin.write(json.dumps(asked) + "\n")
            ours.stdin.flush()
            mine = json.loads(ours.stdout.readline())
            try:
                theirs, why = peer.search(asked), None
            except Exception as e:  # whatever it is, MLflow gives no answer
                theirs, why = None, f"{type(e).__name__}: {e}"
            if theirs is None and "error" in mine and mine["code"] == "invalid_argument":
                seen["both refuse"] += 1
            elif theirs is not None and "ids" in mine and mine["ids"] == theirs[0] and bool(mine["token"]) == bool(theirs[1]) \
                    and (asked["what"] == "logged_models" or mine["token"] == theirs[1]):
                seen["same, with rows" if theirs[0] else "same"] += 1
            elif theirs is not None and "error" in mine and mine["code"] == "invalid_argument" and is_accident(asked):
                seen["accident"] += 1
            else:
                bad += 1
                if bad <= 20:
                    print("DIFFERENT", json.dumps(asked, ensure_ascii=False))
                    print("  Mizzen:", str(mine)[:300])
                    print("  MLflow:", str(theirs or why)[:300], flush=True)
        ours.stdin.close()
        ours.wait(60)
        print(f"{COUNT} searches, seed {SEED}: {seen}, {bad} different")
        # A generator gone wrong must not look like agreement.
        enough = COUNT < 500 or (seen["same, with rows"] > COUNT * 0.15 and seen["both refuse"] > COUNT * 0.1
                                 and seen["accident"] < COUNT * 0.05)
        if not enough:
            print("the searches are not worth their name: too few rows, or too few refusals")
        sys.exit(1 if bad or not enough else 0)


main()
