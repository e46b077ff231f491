#include "cluster.hpp"

#include "process.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <unistd.h>
#include <utility>

namespace mizzen::test {
namespace {

namespace fs = std::filesystem;

std::string shared_folder() {
  const char* named = std::getenv("MIZZEN_TEST_CLUSTER");
  return named != nullptr && *named != 0 ? named : MIZZEN_TEST_CLUSTER_DIR;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.pop_back();
  }
  return text;
}

std::string script(const std::string& name) {
  return std::string(MIZZEN_TEST_CLUSTER_SCRIPTS) + "/" + name;
}

std::string run(const std::vector<std::string>& command, const std::string& input = {}) {
  process_result result = run_process(command, input);
  if (result.status != 0) {
    std::string what;
    for (const std::string& each : command) what += (what.empty() ? "" : " ") + each;
    throw error(
        errc::unknown, what,
        "status " + std::to_string(result.status) + ": " + trimmed(result.err + result.out));
  }
  return std::move(result.out);
}

// A name that Kubernetes takes: the running test's, and something random.
std::string namespace_name() {
  std::string name = "t";
  if (const auto* test = testing::UnitTest::GetInstance()->current_test_info()) name = test->name();
  for (char& each : name) {
    const auto byte = static_cast<unsigned char>(each);
    each = std::isalnum(byte) != 0 ? static_cast<char>(std::tolower(byte)) : '-';
  }
  return name.substr(0, 40) + "-" + random_hex_id().substr(0, 8);
}

std::string start_private(const private_cluster_options& options) {
  std::string folder = (fs::temp_directory_path() / "mizzen-cluster-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw error(errc::unavailable, folder, "cannot be made");
  std::vector<std::string> command{"env", "MIZZEN_APISERVER_FLAGS=" + options.flags,
                                   script("start.sh"), "--owner", std::to_string(::getpid())};
  if (options.bare) command.emplace_back("--bare");
  command.push_back(folder);
  run(command);
  return folder;
}

}  // namespace

cluster::cluster(std::string folder) : folder_(std::move(folder)) {
  // Lines of the form: export NAME='value'
  std::ifstream file(folder_ + "/env");
  if (!file) throw error(errc::unavailable, folder_, "no cluster runs there");
  for (std::string line; std::getline(file, line);) {
    const auto begin = line.find(' ');
    const auto equals = line.find('=');
    if (begin == std::string::npos || equals == std::string::npos) continue;
    std::string value = line.substr(equals + 1);
    std::erase(value, '\'');
    environment_.emplace(line.substr(begin + 1, equals - begin - 1), std::move(value));
  }
}

const cluster& cluster::shared() {
  if (const std::string reason = unavailable(); !reason.empty()) {
    throw error(errc::unavailable, "cluster", reason);
  }
  static const cluster instance{shared_folder()};
  return instance;
}

std::string cluster::unavailable() {
  const fs::path folder = shared_folder();
  if (fs::exists(folder / "env")) return {};
  if (std::string reason = trimmed(read_file(folder / "unavailable")); !reason.empty())
    return reason;
  return "no cluster runs in " + folder.string() + " (ctest starts it; or tests/cluster/start.sh)";
}

const std::string& cluster::at(const std::string& variable) const {
  const auto found = environment_.find(variable);
  if (found == environment_.end()) throw error(errc::not_found, folder_ + "/env", variable);
  return found->second;
}

std::string cluster::kubeconfig(user who) const {
  static constexpr const char* names[] = {"admin", "token-admin", "token-file", "token-viewer",
                                          "token-nobody"};
  return folder_ + "/" + names[static_cast<std::size_t>(who)] + ".kubeconfig";
}

std::string cluster::certificate_file(const std::string& name) const {
  return folder_ + "/pki/" + name + ".crt";
}
std::string cluster::key_file(const std::string& name) const {
  return folder_ + "/pki/" + name + ".key";
}
std::string cluster::program(const std::string& name) const {
  return at("MIZZEN_CLUSTER_PROGRAMS") + "/" + name;
}

std::string cluster::kubectl(std::vector<std::string> arguments, const std::string& input) const {
  arguments.insert(arguments.begin(), {program("kubectl"), "--kubeconfig=" + kubeconfig(),
                                       "--cache-dir=" + folder_ + "/kubectl-cache"});
  return run(arguments, input);
}

void cluster::apply(const std::string& yaml, const std::string& ns) const {
  kubectl({"apply", "--server-side", "-n", ns, "-f", "-"}, yaml);
}

std::string cluster::service_account(const std::string& ns, const std::string& name,
                                     const std::string& cluster_role) const {
  kubectl({"create", "serviceaccount", name, "-n", ns});
  if (!cluster_role.empty()) {
    kubectl({"create", "rolebinding", name, "-n", ns, "--clusterrole=" + cluster_role,
             "--serviceaccount=" + ns + ":" + name});
  }
  return trimmed(kubectl({"create", "token", name, "-n", ns}));
}

private_cluster::private_cluster(const private_cluster_options& options)
    : cluster(start_private(options)) {}

private_cluster::~private_cluster() {
  try {
    run({script("stop.sh"), folder_});
    if (testing::Test::HasFailure()) {
      std::cerr << "the logs of the cluster are kept: " << folder_ << "/log\n";
    } else {
      fs::remove_all(folder_);
    }
  } catch (const std::exception& problem) {
    std::cerr << "private_cluster: " << problem.what() << "\n";
  }
}

void private_cluster::control(const std::string& action, const std::string& server) {
  run({script("server.sh"), folder_, action, server});
}

test_namespace::test_namespace(const cluster& where) : cluster_(where), name_(namespace_name()) {
  where.kubectl({"create", "namespace", name_});
  // Pods are refused until the namespace has its service account, where a controller makes one.
  if (fs::exists(where.folder() + "/commands/kube-controller-manager")) {
    where.kubectl({"wait", "--for=create", "--timeout=60s", "-n", name_, "serviceaccount/default"});
  }
}

test_namespace::~test_namespace() {
  try {
    if (testing::Test::HasFailure()) {
      std::cerr << "--- what namespace " << name_ << " holds\n"
                << cluster_.kubectl({"get", "all,configmaps,events", "-n", name_, "-o", "wide"});
      for (const char* server : {"kube-apiserver", "kube-controller-manager", "kwok"}) {
        const std::string log = cluster_.folder() + "/log/" + server;
        if (!fs::exists(log)) continue;
        std::cerr << "--- the end of " << log << "\n" << run({"tail", "-n", "15", log});
      }
    }
    cluster_.kubectl({"delete", "namespace", name_, "--wait=false"});
  } catch (const std::exception& problem) {
    std::cerr << "test_namespace: " << problem.what() << "\n";
  }
}

void cluster_test::SetUp() {
  if (const std::string reason = cluster::unavailable(); !reason.empty()) GTEST_SKIP() << reason;
}

const std::string& cluster_test::ns() {
  if (!namespace_) namespace_.emplace(cluster());
  return namespace_->name();
}

void node_test::SetUp() {
  const fs::path folder = shared_folder();
  if (std::string reason = trimmed(read_file(folder / "node-unavailable")); !reason.empty()) {
    GTEST_SKIP() << reason;
  }
  cluster_test::SetUp();
  if (!IsSkipped() && !fs::exists(folder / "node" / "ready")) {
    GTEST_SKIP() << "no real node runs in " << folder.string()
                 << " (ctest starts it; or tests/cluster/node/start.sh)";
  }
}

}  // namespace mizzen::test
