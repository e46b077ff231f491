// Lists the pods of a namespace: list_pods [label selector]
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <iostream>

namespace mz = mizzen;
namespace core_v1 = mizzen::kubernetes::core_v1;

int main(int argc, char** argv) try {
  // --8<-- [start:readme]
  mz::kubernetes::blocking k8s;  // as kubectl: KUBECONFIG, ~/.kube/config, or the pod's own account
  const mz::kubernetes::api<core_v1::pod> pods(k8s.client());
  const auto found = k8s.run(pods.list({.label_selector = argc > 1 ? argv[1] : ""}));
  for (const core_v1::pod& pod : found.items) {
    std::cout << pod.metadata.name << ' ' << pod.status.phase << ' ' << pod.spec.node_name << '\n';
  }
  // --8<-- [end:readme]
} catch (const mz::error& e) {
  std::cerr << e.what() << '\n';
  return 1;
}
