#include "http/destination.hpp"

#include <mizzen/core/error.hpp>

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <string_view>

namespace mizzen::http::detail {

destination parse_destination(const std::string& url, const std::string& subject) {
  const auto fail = [&](std::string_view why) {
    throw error(errc::invalid_argument, subject, why);
  };
  const auto parsed = boost::urls::parse_uri(url);
  if (!parsed) fail("not an absolute URL, as in https://host:port/path");
  const boost::urls::url_view& view = *parsed;
  destination to;
  if (view.scheme() == "https" || view.scheme() == "wss") {
    to.tls = true;
  } else if (view.scheme() != "http" && view.scheme() != "ws") {
    fail("the scheme must be http or https");
  }
  if (view.has_userinfo()) {
    fail("a user and password in the URL end up in logs; send an Authorization header");
  }
  to.host = view.host_address();
  if (to.host.empty()) fail("the host is missing");
  to.port = view.has_port() && !view.port().empty() ? std::string(view.port())
                                                    : std::string(to.tls ? "443" : "80");
  to.authority = std::string(view.encoded_host_and_port());
  to.target = std::string(view.encoded_target());
  if (!to.target.starts_with('/')) to.target.insert(0, "/");
  return to;
}

void check_request(const request& what, const std::string& subject) {
  // A method has the form of a header's name.
  try {
    headers().add(what.method, "");
  } catch (const error&) {
    throw error(errc::invalid_argument, subject, "the method is not a token such as GET");
  }
  if (what.method == "CONNECT") {
    throw error(errc::invalid_argument, subject, "CONNECT is not a request that has an answer");
  }
  for (const char* own : {"Content-Length", "Transfer-Encoding", "Connection", "Expect"}) {
    if (what.headers.contains(own)) {
      throw error(errc::invalid_argument, subject,
                  std::string(own) + " is written by the client; leave it out");
    }
  }
}

std::string request_head(const request& what, body_size body, const destination& to,
                         const headers& defaults, const headers& extra, bool through_proxy) {
  std::string head = what.method + " ";
  if (through_proxy) head += "http://" + to.authority;
  head += to.target + " HTTP/1.1\r\n";
  const auto append = [&head](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  if (!what.headers.contains("Host")) append("Host", to.authority);
  for (const field& each : what.headers) append(each.name, each.value);
  for (const field& each : defaults) {
    if (!what.headers.contains(each.name)) append(each.name, each.value);
  }
  for (const field& each : extra) append(each.name, each.value);
  // RFC 9110, section 8.6: a method that has no use for a body does not announce an empty one.
  const bool bodiless = what.method == "GET" || what.method == "HEAD" || what.method == "DELETE" ||
                        what.method == "OPTIONS" || what.method == "TRACE";
  if (!body) {
    append("Transfer-Encoding", "chunked");
  } else if (*body > 0 || !bodiless) {
    append("Content-Length", std::to_string(*body));
  }
  head += "\r\n";
  return head;
}

}  // namespace mizzen::http::detail
