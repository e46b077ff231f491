// A proxy between a client and an API server that fails as a test asks it to. See
// faultproxy/main.go.
//
//   fault_proxy proxy(cluster());
//   proxy.add({.target = "/pods", .status = 503, .retry_after = 1});       // once
//   proxy.add({.target = "watch=", .after_events = 5, .end = "reset"});    // cut a watch after 5
//   events auto config = config::from_file(proxy.kubeconfig());
#pragma once

#include "cluster.hpp"
#include "process.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mizzen::test {

// Rules are looked at in the order in which they were added; the first that matches acts.
struct fault {
  std::string method = {};  // empty: any
  std::string target = {};  // regular expression, searched in "/path?query"
  int skip = 0;             // let so many matching requests pass first
  int times = 1;            // then act on so many; negative: on all

  std::chrono::milliseconds delay{0};  // before anything else

  // Answer this without asking the server; 0: ask the server. The default body is a Status object.
  int status = 0;
  std::optional<int> retry_after = {};
  std::map<std::string, std::string> headers = {};
  std::optional<std::string> body = {};

  // Let so much of the body pass (bytes, or lines: the events of a watch), then send `inject`, then
  // do as `end` says. With neither, `end` comes after the whole answer: a connection that looked
  // reusable, and is not.
  std::optional<std::int64_t> after_bytes = {};
  std::optional<std::int64_t> after_events = {};
  std::string inject = {};

  // "finish" (let the rest pass), "complete" (end the body in good order), "close" (FIN), "reset",
  // "no_notify" (FIN without TLS's close_notify), "half_open" (send nothing more, keep the
  // connection), "truncated_chunk", "bad_chunk".
  std::string end = "finish";

  // "before_response": the server carries the request out, then `end`, without a byte of the
  // answer. "early": `end` as soon as the request's header is there.
  std::string when = {};

  // Not asked of the server when a WebSocket is opened: "v5.channel.k8s.io".
  std::string without_protocol = {};
};

// The line of a watch that says that it has failed, e.g. with 410 "Expired" or 401 "Unauthorized".
std::string watch_error(int code, const std::string& reason);

// TLS on a free port with a certificate of the cluster's authority. Client certificates do not
// reach the server, so its kubeconfigs use tokens. A proxy for CONNECT under the same URL, through
// which they do. Ends with this object, or the process. Not thread-safe.
class fault_proxy {
 public:
  explicit fault_proxy(const cluster& where);
  ~fault_proxy();
  fault_proxy(const fault_proxy&) = delete;
  fault_proxy& operator=(const fault_proxy&) = delete;

  std::string url() const;
  std::string kubeconfig() const { return kubeconfig_; }  // the admin, by token, through the proxy

  void add(const fault& what);
  void clear();                                // forget all faults
  void cut(const std::string& how = "reset");  // end all connections: "close", "reset", "no_notify"
  void freeze(bool frozen = true);             // every connection, new ones too, goes silent

  struct request {
    std::string method, target, authorization;  // of a CONNECT: its Proxy-Authorization
    int status = 0;                             // what the client was told; 0: nothing (yet)
  };
  struct state {
    int open = 0;      // connections of clients now
    int accepted = 0;  // so far
    std::vector<request> requests = {};
  };
  state look();

 private:
  void command(const std::string& line);

  conversation process_;
  int port_ = 0;
  std::string kubeconfig_;
};

}  // namespace mizzen::test
