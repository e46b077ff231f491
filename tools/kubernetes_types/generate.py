#!/usr/bin/env python3
"""Writes the Kubernetes types of mizzen::kubernetes: structs, and the tables that the codecs run on.

Three sources that have to agree, all of one Kubernetes version and all in the Go module cache once
tests/cluster has been built:

  OpenAPI v3   what the API server publishes: schemas, descriptions, paths, kinds
               (k8s.io/kubernetes/api/openapi-spec/v3, or a running server: --server)
  types.go     the order of fields, and which of them are pointers
  *.proto      the numbers of the protobuf fields

How a field looks follows from Go: a pointer there is std::optional or box here, a value is a value whose
zero is the same as absent, a slice or map is the same absent or empty.

  generate.py                 writes into include/mizzen/kubernetes/types and src/kubernetes/types
  generate.py --check         compares instead, and fails if they differ
  generate.py --server        takes the OpenAPI documents from `kubectl get --raw`
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADERS = ROOT / "include/mizzen/kubernetes/types"
SOURCES = ROOT / "src/kubernetes/types"
COLUMNS = 100

# Namespace -> (prefix of its schemas, module, folder of its Go package, OpenAPI document).
GROUPS = {
    "meta_v1": ("io.k8s.apimachinery.pkg.apis.meta.v1", "apimachinery", "pkg/apis/meta/v1", None),
}
for name, group in {
    "admissionregistration_v1": "admissionregistration.k8s.io",
    "apps_v1": "apps",
    "authentication_v1": "authentication.k8s.io",
    "authorization_v1": "authorization.k8s.io",
    "autoscaling_v1": "autoscaling",
    "autoscaling_v2": "autoscaling",
    "batch_v1": "batch",
    "certificates_v1": "certificates.k8s.io",
    "coordination_v1": "coordination.k8s.io",
    "core_v1": "",
    "discovery_v1": "discovery.k8s.io",
    "events_v1": "events.k8s.io",
    "flowcontrol_v1": "flowcontrol.apiserver.k8s.io",
    "networking_v1": "networking.k8s.io",
    "node_v1": "node.k8s.io",
    "policy_v1": "policy",
    "rbac_v1": "rbac.authorization.k8s.io",
    "resource_v1": "resource.k8s.io",
    "scheduling_v1": "scheduling.k8s.io",
    "storage_v1": "storage.k8s.io",
}.items():
    folder, version = name.rsplit("_", 1)
    path = f"apis/{group}/{version}" if group else f"api/{version}"
    GROUPS[name] = (f"io.k8s.api.{folder}.{version}", "api", f"{folder}/{version}", path)
GROUPS["apiextensions_v1"] = (
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "apiextensions-apiserver",
    "pkg/apis/apiextensions/v1", "apis/apiextensions.k8s.io/v1")
GROUPS["apiregistration_v1"] = (
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1", "kube-aggregator",
    "pkg/apis/apiregistration/v1", "apis/apiregistration.k8s.io/v1")

# What a reader should know of each namespace.
ABOUT = {
    "core_v1": "the core group: pods, nodes, services, volumes, configuration",
    "meta_v1": "what all kinds share: object metadata, lists, Status, selectors, options",
}

# Schemas that are not structs of their own: name -> (scalar kind, C++ type).
SCALARS = {
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "micro_time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "raw_json",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int_or_string",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "raw_json",
    GROUPS["apiextensions_v1"][0] + ".JSON": "raw_json",
    # Unions of forms in JSON, messages of their own in protobuf: kept as JSON, and what holds them
    # is JSON only.
    GROUPS["apiextensions_v1"][0] + ".JSONSchemaPropsOrArray": "raw_json_only",
    GROUPS["apiextensions_v1"][0] + ".JSONSchemaPropsOrBool": "raw_json_only",
    GROUPS["apiextensions_v1"][0] + ".JSONSchemaPropsOrStringArray": "raw_json_only",
}
CPP_TYPES = {
    "string": "std::string", "boolean": "bool", "int32": "std::int32_t", "int64": "std::int64_t",
    "number": "double", "bytes": "byte_string", "time": "kubernetes::time",
    "micro_time": "kubernetes::micro_time", "quantity": "kubernetes::quantity",
    "int_or_string": "kubernetes::int_or_string", "raw_json": "kubernetes::raw_json",
}
# Types whose zero is a value like any other: absent is said with std::optional.
NO_ZERO = {"time", "micro_time", "quantity", "int_or_string"}

SKIPPED = {"io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
           "io.k8s.apimachinery.pkg.apis.meta.v1.APIResource",
           "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList",
           "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"}

# Answered by the server to `Accept: …;as=PartialObjectMetadata`, but in no document.
EXTRA_SCHEMAS = {
    "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata": {
        "description": "The metadata of an object of any kind, without the rest of it.",
        "properties": {
            "kind": {"type": "string"}, "apiVersion": {"type": "string"},
            "metadata": {"description": "Standard object's metadata.",
                         "allOf": [{"$ref": "#/components/schemas/"
                                            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}]}},
        "x-kubernetes-group-version-kind":
            [{"group": "meta.k8s.io", "version": "v1", "kind": "PartialObjectMetadata"}]},
}

# C++ keywords, and macros of <cstdio> and compilers.
RESERVED = set("""alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl
concept const consteval constexpr constinit continue co_await co_return co_yield decltype default delete
do double else enum explicit export extern false float for friend goto if inline int long mutable
namespace new noexcept not not_eq nullptr operator or or_eq private protected public register
requires return short signed sizeof static struct switch template this throw true try typedef typeid
typename union unsigned using virtual void volatile while xor xor_eq stdin stdout stderr linux unix
major minor""".split())


def fail(message):
    sys.exit(f"generate.py: {message}")


def snake(name):
    """clusterIPs -> cluster_ips, HTTPGetAction -> http_get_action, podCIDR -> pod_cidr."""
    words = re.findall(r"[A-Z]{2,}s(?=[A-Z]|$)|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+[0-9]*",
                       name.replace("$", ""))
    text = "_".join(word.lower() for word in words)
    return text + "_" if text in RESERVED else text


# --- Go --------------------------------------------------------------------------------------------

GoField = collections.namedtuple("GoField", "go_name type json omitempty inline number")


class GoPackage:
    """The structs of a types.go, and the numbers of a generated.proto."""

    def __init__(self, folder):
        self.structs, self.named = {}, {}
        for path in sorted(folder.glob("types*.go")):
            if "swagger" not in path.name:
                self.parse(path.read_text())
        proto = folder / "generated.proto"
        self.messages = parse_proto(proto.read_text()) if proto.exists() else {}

    def parse(self, text):
        for match in re.finditer(r"^type (\w+) ([^\s{].*)$", text, re.M):
            if not match[2].startswith(("struct", "interface")):
                self.named[match[1]] = match[2].split("//")[0].strip()
        for match in re.finditer(r"^type (\w+) struct ?\{(?:\}|\n(.*?)^\})", text, re.M | re.S):
            fields = []
            for line in (match[2] or "").splitlines():
                line = line.strip()
                found = re.match(r"(?:(\w+)\s+)?([\w.*\[\]]+)\s+`(.*)`", line)
                if not found or line.startswith("//"):
                    continue
                tags = dict(re.findall(r'(\w+):"([^"]*)"', found[3]))
                if "json" not in tags:
                    continue
                json_name, *options = tags["json"].split(",")
                number = re.match(r"\w+,(\d+)", tags.get("protobuf", ""))
                fields.append(GoField(found[1] or found[2].split(".")[-1], found[2], json_name,
                                      bool({"omitempty", "omitzero"} & set(options)),
                                      "inline" in options, int(number[1]) if number else 0))
            self.structs[match[1]] = fields


def parse_proto(text):
    text = re.sub(r"//.*", "", text)
    messages = {}
    for match in re.finditer(r"^message (\w+) \{(.*?)^\}", text, re.M | re.S):
        fields = re.findall(r"(?:optional|repeated|required|map<[^>]*>)\s*[\w.]*\s*(\w+) = (\d+)",
                            match[2])
        messages[match[1]] = {name: int(number) for name, number in fields}
    return messages


# --- the model -------------------------------------------------------------------------------------

class Field:
    def __init__(self, **values):
        self.__dict__.update(values)


class Struct:
    def __init__(self, namespace, name, schema):
        self.namespace, self.name, self.schema = namespace, name, schema
        self.cpp = snake(name)
        self.fields, self.scopes = [], []
        self.gvk = None  # (apiVersion, kind)
        self.resource = None
        self.protobuf = True

    @property
    def full(self):
        return f"{self.namespace}::{self.cpp}"


class Model:
    def __init__(self, documents, modules, version):
        self.packages = {name: GoPackage(modules / f"{module}@{version}" / folder)
                         for name, (_, module, folder, _) in GROUPS.items()}
        schemas = dict(EXTRA_SCHEMAS)
        self.resources = {}
        for name, document in documents.items():
            for key, schema in document.get("components", {}).get("schemas", {}).items():
                if schemas.setdefault(key, schema) != schema:
                    # Documents of other groups list other groups' DeleteOptions.
                    kinds = "x-kubernetes-group-version-kind"
                    if {**schemas[key], kinds: 0} != {**schema, kinds: 0}:
                        fail(f"the documents differ about {key}")
            self.read_paths(document)
        self.structs = {}
        for namespace, (prefix, _, _, _) in GROUPS.items():
            for key, schema in schemas.items():
                package, _, name = key.rpartition(".")
                if package != prefix or key in SCALARS or key in SKIPPED or self.is_list(schema):
                    continue
                self.structs[key] = Struct(namespace, name, schema)
        for struct in self.structs.values():
            self.fill(struct)
        changed = True
        while changed:  # what holds a JSON-only type is JSON only itself
            changed = False
            for struct in self.structs.values():
                if struct.protobuf and any(f.scalar == "object" and not f.struct.protobuf
                                           for f in struct.fields):
                    struct.protobuf, changed = False, True
        for struct in self.structs.values():
            struct.resource = self.resources.get(struct.gvk)

    @staticmethod
    def is_list(schema):
        properties = schema.get("properties", {})
        metadata = properties.get("metadata", {}).get("allOf", [{}])[0].get("$ref", "")
        return "items" in properties and metadata.endswith(".ListMeta")

    def read_paths(self, document):
        verbs = {"list": ["list", "watch"], "post": ["create"], "put": ["update"],
                 "deletecollection": ["deletecollection"], "get": ["get"], "patch": ["patch"],
                 "delete": ["delete"]}
        for path, item in document.get("paths", {}).items():
            match = re.fullmatch(r"/(api|apis/[^/]+)/([^/]+)/(namespaces/\{namespace\}/)?"
                                 r"([a-z]+)(?:/\{name\}(?:/([a-z]+))?)?", path)
            if not match:
                continue
            group = match[1].partition("/")[2]
            resource = self.resources_at(group, match[2], match[4])
            if match[5]:
                if match[5] not in resource["subresources"]:
                    resource["subresources"].append(match[5])
                continue
            resource["namespaced"] |= bool(match[3])
            for operation in item.values():
                if not isinstance(operation, dict) or "x-kubernetes-action" not in operation:
                    continue
                kind = operation["x-kubernetes-group-version-kind"]
                version = kind["version"] if not kind["group"] else \
                    f"{kind['group']}/{kind['version']}"
                self.resources[(version, kind["kind"])] = resource
                for verb in verbs[operation["x-kubernetes-action"]]:
                    if verb not in resource["verbs"]:
                        resource["verbs"].append(verb)

    def resources_at(self, group, version, plural):
        return self.resources.setdefault((group, version, plural), {
            "group": group, "version": version, "plural": plural, "namespaced": False,
            "verbs": [], "subresources": []})

    def fill(self, struct):
        kinds = struct.schema.get("x-kubernetes-group-version-kind", [])
        properties = dict(struct.schema.get("properties", {}))
        if kinds:
            # Options and Status are listed under every group; v1 serves them all.
            kind = next((k for k in kinds if not k["group"] and k["version"] == "v1"), kinds[0])
            struct.gvk = ("/".join(filter(None, [kind["group"], kind["version"]])), kind["kind"])
            properties.pop("kind", None)
            properties.pop("apiVersion", None)
        self.flatten(struct, struct.namespace, struct.name, properties, 0)
        if properties:
            fail(f"{struct.full}: no Go field for {', '.join(properties)}")

    def flatten(self, struct, namespace, go_struct, properties, scope):
        package = self.packages[namespace]
        if go_struct not in package.structs:
            fail(f"{struct.full}: no Go struct {go_struct}")
        if scope == 0:
            struct.scopes.append({"parent": 0, "number": 0})
        for go in package.structs[go_struct]:
            if go.inline and not go.json:
                if go.go_name == "TypeMeta":
                    continue
                if not go.number:
                    fail(f"{struct.full}: {go.go_name} has no number")
                struct.scopes.append({"parent": scope, "number": go.number})
                self.flatten(struct, namespace, go.type.split(".")[-1], properties,
                             len(struct.scopes) - 1)
                continue
            if go.json not in properties:
                if go.json not in ("", "-", "kind", "apiVersion"):
                    print(f"note: {struct.full}: {go.json} is in Go, but not in OpenAPI",
                          file=sys.stderr)
                continue
            numbers = package.messages.get(go_struct, {})
            if numbers and numbers.get(go.json, go.number) != go.number:
                fail(f"{struct.full}.{go.json}: types.go says {go.number}, "
                     f"generated.proto {numbers[go.json]}")
            self.add(struct, go, properties.pop(go.json), scope)

    def add(self, struct, go, schema, scope):
        field = Field(json=go.json, cpp=snake(go.json), number=go.number, scope=scope, struct=None,
                      description=schema.get("description", ""), always=not go.omitempty)
        kind = self.kind(schema)
        pointer = go.type.startswith("*")
        if kind[0] == "array":
            field.form, field.scalar = "vector", kind[1][0]
            field.struct = kind[1][1]
            if field.scalar == "array":
                fail(f"{struct.full}.{go.json}: an array of arrays")
        elif kind[0] == "map":
            field.form, field.scalar, field.struct = "map", kind[1][0], kind[1][1]
            if field.scalar == "array":
                if kind[1][1][0] != "string":
                    fail(f"{struct.full}.{go.json}: a map of arrays of {kind[1][1][0]}")
                field.form, field.scalar, field.struct = "map_of_lists", "string", None
        else:
            field.scalar, field.struct = kind
            if field.scalar == "object":
                field.form = "box" if pointer else "plain"
            elif field.scalar in ("raw_json", "bytes", "raw_json_only"):
                field.form = "plain"
            elif field.scalar in ("time", "micro_time"):
                field.form = "optional"
            else:
                optional = pointer or (field.scalar in NO_ZERO and go.omitempty)
                field.form = "optional" if optional else "plain"
        if field.form in ("vector", "map", "map_of_lists"):
            field.always = field.always and go.json in struct.schema.get("required", [])
        if field.scalar in ("raw_json", "bytes", "raw_json_only") or field.form in ("optional",
                                                                                    "box"):
            field.always = False
        if field.scalar == "raw_json_only":
            field.scalar, struct.protobuf = "raw_json", False
        if not field.number:
            struct.protobuf = False
        struct.fields.append(field)

    def kind(self, schema):
        reference = schema.get("$ref") or (schema.get("allOf") or [{}])[0].get("$ref")
        if reference:
            key = reference.rpartition("/")[2]
            if key in SCALARS:
                return SCALARS[key], None
            if key not in self.structs:
                fail(f"{key} is used but not generated")
            return "object", self.structs[key]
        if schema["type"] == "array":
            return "array", self.kind(schema["items"])
        if schema["type"] == "object":
            return "map", self.kind(schema["additionalProperties"])
        if schema["type"] == "integer":
            return schema["format"], None
        if schema["type"] == "string":
            return ("bytes" if schema.get("format") == "byte" else "string"), None
        return schema["type"], None


# --- C++ -------------------------------------------------------------------------------------------

def cpp_type(field):
    base = field.struct.full if field.scalar == "object" else CPP_TYPES[field.scalar]
    return {"plain": base, "optional": f"std::optional<{base}>", "box": f"box<{base}>",
            "vector": f"std::vector<{base}>", "map": f"string_map<{base}>",
            "map_of_lists": "string_map<std::vector<std::string>>"}[field.form]


def comment(text, indent):
    """The first sentence of a description, as a comment."""
    text = " ".join(text.split("\n\nPossible enum values:")[0].split())  # which a server adds
    first = re.match(r"(.+?[a-z0-9)\]`'\"’][a-z0-9)\]`'\"’]\.)(?=\s+[A-Z\"'`]|\s*$)", text)
    if first:
        text = first[1]
    lines = textwrap.wrap(text, COLUMNS - indent - 3, break_long_words=False,
                          break_on_hyphens=False)
    return [" " * indent + "// " + line.rstrip("\\") for line in lines]


def call(start, arguments, end):
    """One line, or one for each argument where it gets too long."""
    line = start + ", ".join(arguments) + end
    if len(line) <= COLUMNS:
        return [line]
    indent = " " * (len(start) - len(start.lstrip()) + 4)
    return [start, *(indent + a + "," for a in arguments[:-1]), indent + arguments[-1] + end]


def ordered(structs):
    """Structs of one namespace, each after those it holds; and those that need a declaration."""
    result, state, forward = [], {}, set()

    def visit(struct):
        state[struct] = 1
        for field in struct.fields:
            other = field.struct
            if field.scalar != "object" or other.namespace != struct.namespace:
                continue
            if other not in state:
                visit(other)
            elif state[other] == 1:
                if field.form == "plain":
                    fail(f"{struct.full} holds itself")
                forward.add(other.cpp)
        state[struct] = 2
        result.append(struct)

    for struct in sorted(structs, key=lambda s: s.cpp):
        if struct not in state:
            visit(struct)
    return result, sorted(forward)


GENERATED = "// Generated by tools/kubernetes_types/generate.py from Kubernetes {}; not to be edited."


def header(namespace, structs, version):
    used = {field.scalar for s in structs for field in s.fields}
    forms = {field.form for s in structs for field in s.fields}
    own = []
    if "box" in forms:
        own.append("box")
    own += [n for n in ("int_or_string", "quantity", "raw_json", "time") if n in used]
    if "micro_time" in used or "time" in used:
        own.append("time")
    if "bytes" in used:
        own.append("raw_json")
    own += ["resource", "serialization"]
    if forms & {"map", "map_of_lists"}:
        own.append("string_map")
    own += [f"types/{s.namespace}" for s in
            {f.struct for x in structs for f in x.fields if f.scalar == "object"}
            if s.namespace != namespace]
    own.append("unknown")
    about = ABOUT.get(namespace) or "the API group " + (
        GROUPS[namespace][3].removeprefix("apis/"))
    lines = [f"// {about[0].upper()}{about[1:]}.", GENERATED.format(version),
             "// Field comments are the API's own descriptions (Apache-2.0).",
             "// clang-format off", "#pragma once", ""]
    lines += [f"#include <mizzen/kubernetes/{name}.hpp>" for name in sorted(set(own))]
    lines += ["", "#include <cstdint>", "#include <optional>", "#include <string>",
              "#include <vector>", "", f"namespace mizzen::kubernetes::{namespace} {{", ""]
    order, forward = ordered(structs)
    if forward:
        lines += [f"struct {name};" for name in forward] + [""]
    for struct in order:
        lines += comment(struct.schema.get("description", ""), 0)
        if struct.gvk:
            lines.append(f"// Kind {struct.gvk[1]} of {struct.gvk[0]}.")
        lines.append(f"struct {struct.cpp} {{")
        for field in struct.fields:
            lines += comment(field.description, 2)
            lines.append(f"  {cpp_type(field)} {field.cpp} = {{}};")
        lines.append("  kubernetes::unknown unknown = {};")
        lines.append("")
        # Qualified: a field may have the name of its struct.
        lines += call("  friend bool operator==(",
                      [f"const {struct.full}&", f"const {struct.full}&"], ") = default;")
        lines.append("};")
        lines += call("const detail::struct_type& type_of(", [f"const {struct.full}*"], ") noexcept;")
        lines.append("")
    lines += [f"}}  // namespace mizzen::kubernetes::{namespace}", ""]
    kinds = [s for s in order if s.resource]
    if kinds:
        lines += ["namespace mizzen::kubernetes {", ""]
        for struct in kinds:
            lines += ["template <>",
                      f"const resource_info& resource_of<{struct.full}>();"]
        lines += ["", "}  // namespace mizzen::kubernetes", ""]
    return "\n".join(lines)


def source(namespace, structs, version, vectors, boxes, maps):
    order, _ = ordered(structs)
    others = {f.struct for s in structs for f in s.fields if f.scalar == "object"}
    lines = [GENERATED.format(version), "// clang-format off",
             f"#include <mizzen/kubernetes/types/{namespace}.hpp>", "",
             "#include <kubernetes/codec/schema.hpp>", "",
             "#include <cstddef>", "",
             "// The structs hold library types, for which offsetof is conditionally supported: by the",
             "// compilers that Mizzen is built with it is.",
             '#pragma GCC diagnostic ignored "-Winvalid-offsetof"', ""]
    for space in sorted({s.namespace for s in others | set(structs)}):
        names = sorted({s.cpp for s in others | set(structs) if s.namespace == space})
        lines += [f"namespace mizzen::kubernetes::{space} {{"]
        lines += [f"extern const detail::struct_type {name.rstrip('_')}_type;" for name in names]
        lines += ["}", ""]
    lines += [f"namespace mizzen::kubernetes::{namespace} {{",
              "namespace {", "", "using detail::field;", "using detail::form;",
              "using detail::scalar;", "using detail::scope;", ""]
    for struct in order:
        name = struct.cpp.rstrip("_")
        if struct.fields:
            lines.append(f"constexpr field {name}_fields[] = {{")
            for f in struct.fields:
                nested = "nullptr"
                if f.scalar == "object":
                    space = "" if f.struct.namespace == namespace else f.struct.namespace + "::"
                    nested = f"&{space}{f.struct.cpp.rstrip('_')}_type"
                lines.append(
                    f'    {{"{f.json}", {len(f.json)}, form::{f.form}, scalar::{f.scalar}, '
                    f"{str(f.always).lower()}, {f.scope}, {f.number},")
                lines.append(f"     offsetof({struct.cpp}, {f.cpp}), {nested}}},")
            lines.append("};")
        scopes = []
        for number, scope in enumerate(struct.scopes):
            numbers = {f.number: i for i, f in enumerate(struct.fields) if f.scope == number}
            numbers.pop(0, None)
            for child, other in enumerate(struct.scopes):
                if child and other["parent"] == number:
                    numbers[other["number"]] = 192 + child
            if len(struct.fields) >= 192:
                fail(f"{struct.full} has too many fields for its index")
            top = max(numbers, default=0)
            if top > 250:
                fail(f"{struct.full}: field number {top} is too great for its index")
            index = [numbers.get(n, 255) for n in range(top + 1)]
            text = textwrap.wrap(", ".join(map(str, index)), COLUMNS - 4)
            lines.append(f"constexpr std::uint8_t {name}_numbers_{number}[] = {{")
            lines += ["    " + line for line in text]
            lines.append("};")
            scopes.append(f"{{{name}_numbers_{number}, {top}, {scope['parent']}, {scope['number']}}}")
        lines.append(f"constexpr scope {name}_scopes[] = {{{', '.join(scopes)}}};")
        lines.append("")
    lines += ["}  // namespace", ""]
    for struct in order:
        name = struct.cpp.rstrip("_")
        version_, kind = struct.gvk or ("", "")
        fields = f"{name}_fields, {len(struct.fields)}" if struct.fields else "nullptr, 0"
        lines += [
            f"constinit const detail::struct_type {name}_type = {{",
            f'    "{struct.name}", "{version_}", "{kind}",',
            f"    {fields}, {name}_scopes, {len(struct.scopes)},",
            f"    {str(struct.protobuf).lower()}, sizeof({struct.cpp}), offsetof({struct.cpp}, unknown),",
            f"    {f'detail::box_operations<{struct.cpp}>()' if struct in boxes else '{}'}, "
            f"{f'detail::vector_operations<{struct.cpp}>()' if struct in vectors else '{}'}, "
            f"{f'detail::map_operations<{struct.cpp}>()' if struct in maps else '{}'}}};",
            *call("const detail::struct_type& type_of(", [f"const {struct.full}*"], ") noexcept {"),
            f"  return {name}_type;", "}", ""]
    lines += [f"}}  // namespace mizzen::kubernetes::{namespace}", ""]
    kinds = [s for s in order if s.resource]
    if kinds:
        lines += ["namespace mizzen::kubernetes {", ""]
        for struct in kinds:
            r = struct.resource
            lists = [", ".join(f'"{x}"' for x in sorted(r[key]))
                     for key in ("verbs", "subresources")]
            lines += ["template <>",
                      f"const resource_info& resource_of<{struct.full}>() {{",
                      "  static const resource_info info{",
                      f'      "{r["group"]}", "{r["version"]}", "{struct.gvk[1]}", "{r["plural"]}", '
                      f"{str(r['namespaced']).lower()},",
                      f"      {{{lists[0]}}},",
                      f"      {{{lists[1]}}}, {str(struct.protobuf).lower()}}};",
                      "  return info;", "}"]
        lines += ["", "}  // namespace mizzen::kubernetes", ""]
    return "\n".join(lines)


def generate(model, version):
    files = {}
    structs = list(model.structs.values())
    used = lambda form: {f.struct for s in structs for f in s.fields
                         if f.form == form and f.scalar == "object"}
    vectors, boxes, maps = used("vector"), used("box"), used("map")
    names = []
    for namespace in GROUPS:
        own = [s for s in structs if s.namespace == namespace]
        names.append(namespace)
        files[HEADERS / f"{namespace}.hpp"] = header(namespace, own, version)
        files[SOURCES / f"{namespace}.cpp"] = source(namespace, own, version, vectors, boxes, maps)
    kinds = sorted(s.full for s in structs if s.gvk and s.resource)
    listing = ["// Every generated kind that has a resource, for code that goes over all of them.",
               GENERATED.format(version), "// clang-format off", "#pragma once", ""]
    listing += [f"#include <mizzen/kubernetes/types/{name}.hpp>" for name in sorted(names)]
    listing += ["", "// Calls X(kind) for each.", "#define MIZZEN_KUBERNETES_KINDS(X) \\"]
    listing += [f"  X(::mizzen::kubernetes::{kind}) \\" for kind in kinds[:-1]]
    listing += [f"  X(::mizzen::kubernetes::{kinds[-1]})", ""]
    files[HEADERS / "all.hpp"] = "\n".join(listing)
    return files


# --- sources ---------------------------------------------------------------------------------------

def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def module_cache():
    """As Go finds it; a Go that is too old to be on the PATH is not asked."""
    if "GOMODCACHE" in os.environ:
        return pathlib.Path(os.environ["GOMODCACHE"])
    return pathlib.Path(os.environ.get("GOPATH") or pathlib.Path.home() / "go") / "pkg/mod"


def documents(modules, version, from_server):
    result = {}
    for name, (_, _, _, path) in GROUPS.items():
        if not path:
            continue
        if from_server:
            result[name] = json.loads(run("kubectl", "get", "--raw", f"/openapi/v3/{path}"))
        else:
            file = path.replace("/", "__") + "_openapi.json"
            folder = modules / f"kubernetes@v1.{version[3:]}" / "api/openapi-spec/v3"
            result[name] = json.loads((folder / file).read_text())
    return result


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--version", default="v0.36.3", help="of k8s.io/api and its like")
    options.add_argument("--check", action="store_true")
    options.add_argument("--server", action="store_true")
    arguments = options.parse_args()
    modules = module_cache() / "k8s.io"
    version = arguments.version
    if not (modules / f"api@{version}").exists():
        print(f"SKIPPED: k8s.io/api {version} is not in the Go module cache: run tests/cluster/build.sh")
        sys.exit(77)
    model = Model(documents(modules, version, arguments.server), modules, version)
    files = generate(model, "v1." + version[3:])
    stale = {p for folder in (HEADERS, SOURCES) for p in folder.glob("*.?pp")} - set(files)
    if arguments.check:
        wrong = [p for p, text in files.items() if not p.exists() or p.read_text() != text]
        for path in sorted([*wrong, *stale]):
            print(f"{path.relative_to(ROOT)} is not what the generator writes")
        sys.exit(1 if wrong or stale else 0)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in stale:
        path.unlink()


if __name__ == "__main__":
    main()
