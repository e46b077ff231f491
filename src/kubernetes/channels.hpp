// The channels of exec, attach and port-forward within WebSocket messages, without I/O.
//
// Each binary message is one byte that names a channel and what goes through it
// (k8s.io/apimachinery/pkg/util/remotecommand, k8s.io/cri-streaming/pkg/streaming/portforward).
#pragma once

#include <mizzen/kubernetes/exec.hpp>
#include <mizzen/kubernetes/status.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {

namespace channel {
inline constexpr char to_stdin = 0;
inline constexpr char from_stdout = 1;
inline constexpr char from_stderr = 2;
inline constexpr char error = 3;
inline constexpr char resize = 4;
inline constexpr char close = '\xff';  // v5: what follows is the channel that ends
}  // namespace channel

inline constexpr std::string_view protocol_v5 = "v5.channel.k8s.io";
inline constexpr std::string_view protocol_v4 = "v4.channel.k8s.io";

struct channel_message {
  char channel;
  std::string_view data;
};

// Nothing for an empty message, which has no channel.
std::optional<channel_message> parse_channel_message(std::string_view message) noexcept;

// What the channel `error` of exec and attach says when the program has ended: how, or, in the
// Status, why it never ran.
struct end_of_process {
  std::optional<process_exit> exit;
  std::optional<api_status> failure;
};
end_of_process parse_end_of_process(std::string_view text);

// {"Width":80,"Height":24}
std::string resize_text(std::uint16_t width, std::uint16_t height);

// What is read of one forwarded port: a channel of data and one of errors, each of which begins
// with the number of the port.
class port_channels {
 public:
  explicit port_channels(std::uint16_t port) : port_(port) {}

  enum class event : std::uint8_t { nothing, data, failed };
  // failed: the pod's side, or a message that is none (then the text says so).
  event put(std::string_view message);
  // Of the last event: the data, or why.
  std::string_view text() const noexcept { return text_; }

 private:
  event fail(std::string why);

  std::uint16_t port_;
  std::size_t skipped_[2] = {0, 0};
  unsigned announced_[2] = {0, 0};
  std::string_view text_;
  std::string failure_;
};

// "?" or "&", the name, "=" and the value, percent-encoded.
void append_query(std::string& url, std::string_view name, std::string_view value);
// "/api/v1/namespaces/a/pods/b/exec". Throws error(invalid_argument) for empty names.
std::string pod_url(std::string_view ns, std::string_view pod, std::string_view subresource);

}  // namespace mizzen::kubernetes::detail
