#include "fault_proxy.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>

#include <filesystem>
#include <fstream>
#include <system_error>

namespace mizzen::test {

std::string watch_error(int code, const std::string& reason) {
  const json status{{"kind", "Status"},
                    {"apiVersion", "v1"},
                    {"status", "Failure"},
                    {"metadata", json::object()},
                    {"reason", reason},
                    {"code", code},
                    {"message", "from the fault proxy"}};
  return json{{"type", "ERROR"}, {"object", status}}.dump() + "\n";
}

fault_proxy::fault_proxy(const cluster& where)
    : process_({where.fault_proxy_program(), "-upstream", where.url(), "-ca", where.ca_file(),
                "-cert", where.certificate_file("apiserver"), "-key", where.key_file("apiserver")}),
      port_(std::stoi(process_.read_line())),
      kubeconfig_(where.folder() + "/proxy-" + std::to_string(port_) + ".kubeconfig") {
  std::ofstream(kubeconfig_) << "apiVersion: v1\nkind: Config\nclusters: [{name: proxy, cluster: "
                             << "{server: \"" << url() << "\", certificate-authority: \""
                             << where.ca_file() << "\"}}]\nusers: [{name: admin, user: {token: \""
                             << where.admin_token()
                             << "\"}}]\ncontexts: [{name: proxy, context: {cluster: proxy, user: "
                             << "admin}}]\ncurrent-context: proxy\n";
}

fault_proxy::~fault_proxy() {
  std::error_code ignored;
  std::filesystem::remove(kubeconfig_, ignored);
}

std::string fault_proxy::url() const { return "https://127.0.0.1:" + std::to_string(port_); }

void fault_proxy::add(const fault& what) {
  json rule{{"method", what.method},
            {"target", what.target},
            {"skip", what.skip},
            {"times", what.times},
            {"delay_ms", what.delay.count()},
            {"status", what.status},
            {"headers", what.headers},
            {"inject", what.inject},
            {"end", what.end},
            {"when", what.when},
            {"without_protocol", what.without_protocol}};
  if (what.retry_after) rule["headers"]["Retry-After"] = std::to_string(*what.retry_after);
  if (what.body) rule["body"] = *what.body;
  if (what.after_bytes) rule["after_bytes"] = *what.after_bytes;
  if (what.after_events) rule["after_events"] = *what.after_events;
  command(json{{"add", rule}}.dump());
}

void fault_proxy::clear() { command(R"({"clear":true})"); }
void fault_proxy::cut(const std::string& how) { command(json{{"cut", how}}.dump()); }
void fault_proxy::freeze(bool frozen) { command(json{{"freeze", frozen}}.dump()); }

fault_proxy::state fault_proxy::look() {
  const json answer = json::parse(process_.ask(R"({"state":true})"));
  state now{.open = answer["open"], .accepted = answer["accepted"]};
  for (const json& each : answer["requests"]) {
    now.requests.push_back({each["method"], each["target"], each["authorization"], each["status"]});
  }
  return now;
}

void fault_proxy::command(const std::string& line) {
  const json answer = json::parse(process_.ask(line));
  if (answer.contains("error"))
    throw error(errc::invalid_argument, line, answer["error"].get<std::string>());
}

}  // namespace mizzen::test
