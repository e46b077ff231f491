// Every object of a running cluster, of every generated kind: what is read is written again, in
// both encodings.
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/list.hpp>
#include <mizzen/kubernetes/types/all.hpp>

#include <cluster/cluster.hpp>
#include <gtest/gtest.h>
#include <kubernetes/codec/schema.hpp>

#include <algorithm>

using namespace mizzen;
using namespace mizzen::kubernetes;

namespace {

class types_cluster_test : public mizzen::test::cluster_test {};

bool blank(const json& value) {
  if (value.is_structured()) return std::all_of(value.begin(), value.end(), blank);
  return value.is_null() || value == "" || value == 0 || value == false;
}

// Makes two ways to say the same the same one: null is absent, and so is, where Go holds a struct
// by value, one in which nothing is said; kinds inside of other objects are not repeated.
void normalise(const detail::struct_type& type, json& object, bool top) {
  if (!object.is_object()) return;
  if (type.is_kind() && !top) {
    object.erase("kind");
    object.erase("apiVersion");
  }
  for (const detail::field* each = type.fields; each != type.fields + type.field_count; ++each) {
    const auto at = object.find(std::string(each->key()));
    if (at == object.end()) continue;
    if (each->scalar == detail::scalar::object) {
      if (each->form == detail::form::vector || each->form == detail::form::map) {
        for (json& element : *at) normalise(*each->type, element, false);
      } else {
        normalise(*each->type, *at, false);
      }
    }
    const bool by_value = each->form == detail::form::plain && !each->always;
    const bool list_or_map = each->form == detail::form::vector || each->form == detail::form::map;
    const bool zero = at->is_null() || (by_value && blank(*at)) || (list_or_map && at->empty());
    if (zero) object.erase(at);
  }
}

template <typename K>
std::size_t check(const mizzen::test::cluster& cluster) {
  const resource_info& info = resource_of<K>();
  if (std::find(info.verbs.begin(), info.verbs.end(), "list") == info.verbs.end()) return 0;
  const std::string text = cluster.kubectl({"get", "--raw", info.path()});
  const json listed = json::parse(text);
  const auto& type = type_of(static_cast<const K*>(nullptr));
  const auto items = from_json<list<K>>(text).items;
  EXPECT_EQ(items.size(), listed["items"].size()) << info.kind;
  for (std::size_t i = 0; i < items.size(); ++i) {
    json expected = listed["items"][i];
    json written = to_json_value(items[i]);
    written.erase("kind");  // the items of a list do not say it
    written.erase("apiVersion");
    normalise(type, expected, true);
    normalise(type, written, true);
    EXPECT_EQ(json::diff(expected, written), json::array()) << info.kind << ' ' << i;
    if (info.protobuf) {
      EXPECT_EQ(from_protobuf<K>(to_protobuf(items[i])), items[i]) << info.kind << ' ' << i;
    }
  }
  return items.size();
}

}  // namespace

TEST_F(types_cluster_test, every_object_comes_back_as_it_was) {
  cluster().apply(R"(
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: types}
spec:
  serviceName: types
  selector: {matchLabels: {app: types}}
  template:
    metadata: {labels: {app: types}}
    spec:
      containers:
      - name: main
        image: example.com/main
        env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]
        ports: [{containerPort: 80}]
        livenessProbe: {httpGet: {path: /, port: 80}}
        volumeMounts: [{name: data, mountPath: /data}, {name: cache, mountPath: /cache}]
      volumes: [{name: cache, emptyDir: {}}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Secret
metadata: {name: types}
stringData: {password: secret}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: types}
spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {}}]}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: types}
spec: {maxUnavailable: "25%", selector: {matchLabels: {app: types}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: types}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: types}
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
)",
                  ns());
  std::size_t count = 0;
#define MIZZEN_CHECK(kind) count += check<kind>(cluster());
  MIZZEN_KUBERNETES_KINDS(MIZZEN_CHECK)
#undef MIZZEN_CHECK
  EXPECT_GE(count, 100U);
}
