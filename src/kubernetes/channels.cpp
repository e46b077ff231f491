#include "kubernetes/channels.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/message.hpp>

#include <algorithm>
#include <charconv>

namespace mizzen::kubernetes::detail {

std::optional<channel_message> parse_channel_message(std::string_view message) noexcept {
  if (message.empty()) return std::nullopt;
  return channel_message{message.front(), message.substr(1)};
}

end_of_process parse_end_of_process(std::string_view text) {
  end_of_process end;
  std::optional<api_status> status;
  if (text.size() <= max_status_size) {
    json whole = json::parse(text, nullptr, false);
    if (whole.is_object()) {
      whole.emplace("kind", "Status");  // which runtimes leave out here
      whole.emplace("apiVersion", "v1");
      status = status_from_json(whole);
    }
  }
  if (!status) {
    status.emplace();
    status->status = "Failure";
    status->reason = "InternalError";
    status->message = "the server ended the session with: " + std::string(text.substr(0, 1000));
  }
  if (status->success()) {
    end.exit.emplace();
    return end;
  }
  if (status->reason == "NonZeroExitCode") {
    for (const status_cause& cause : status->details.causes) {
      if (cause.reason != "ExitCode") continue;
      int code = 0;
      const char* const last = cause.message.data() + cause.message.size();
      const auto number = std::from_chars(cause.message.data(), last, code);
      if (number.ec != std::errc() || number.ptr != last) continue;
      end.exit = process_exit{code, status->message};
      return end;
    }
  }
  end.failure = std::move(status);
  return end;
}

std::string resize_text(std::uint16_t width, std::uint16_t height) {
  return R"({"Width":)" + std::to_string(width) + R"(,"Height":)" + std::to_string(height) + "}";
}

port_channels::event port_channels::fail(std::string why) {
  failure_ = std::move(why);
  text_ = failure_;
  return event::failed;
}

port_channels::event port_channels::put(std::string_view message) {
  text_ = {};
  const auto parsed = parse_channel_message(message);
  if (!parsed) return event::nothing;
  if (parsed->channel != 0 && parsed->channel != 1) {
    return fail("a message on channel " +
                std::to_string(static_cast<unsigned char>(parsed->channel)) +
                ", which nobody asked for");
  }
  const auto index = static_cast<std::size_t>(parsed->channel);
  std::string_view data = parsed->data;
  while (skipped_[index] < 2 && !data.empty()) {
    announced_[index] |= static_cast<unsigned>(static_cast<unsigned char>(data.front()))
                         << (8 * skipped_[index]);
    ++skipped_[index];
    data.remove_prefix(1);
    if (skipped_[index] == 2 && announced_[index] != port_) {
      return fail("the server forwards port " + std::to_string(announced_[index]) + " instead of " +
                  std::to_string(port_));
    }
  }
  if (data.empty()) return event::nothing;
  if (index == 1) return fail(std::string(data.substr(0, 2000)));
  text_ = data;
  return event::data;
}

void append_query(std::string& url, std::string_view name, std::string_view value) {
  url += url.find('?') == std::string::npos ? '?' : '&';
  url.append(name).append("=").append(http::percent_encode(value));
}

std::string pod_url(std::string_view ns, std::string_view pod, std::string_view subresource) {
  if (ns.empty()) throw error(errc::invalid_argument, "namespace", "a pod has a namespace");
  if (pod.empty()) throw error(errc::invalid_argument, "pod", "the pod's name is missing");
  return "/api/v1/namespaces/" + http::percent_encode(ns) + "/pods/" + http::percent_encode(pod) +
         "/" + std::string(subresource);
}

}  // namespace mizzen::kubernetes::detail
