"""What is to be generated: the API's structs, out of three sources that have to agree.

  OpenAPI v3   what the API server publishes: schemas, descriptions, paths, kinds
  types.go     the order of fields, and which of them are pointers
  *.proto      the numbers of the protobuf fields

How a field looks follows from Go: a pointer there is std::optional or box here, a value is a value whose
zero is the same as absent, a slice or map is the same absent or empty.
"""

import collections
import re
import sys

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
