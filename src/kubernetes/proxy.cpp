#include "kubernetes/proxy.hpp"

#include "kubernetes/files.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/config.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <vector>

namespace mizzen::kubernetes {
namespace {

namespace ip = boost::asio::ip;
using boost::system::error_code;

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return result;
}

// Go keeps IPv4 addresses and their IPv6-mapped form equal.
std::optional<ip::address> to_address(const std::string& text) {
  error_code ec;
  ip::address address = ip::make_address(text, ec);
  if (ec) return std::nullopt;
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = ip::make_address_v4(ip::v4_mapped, address.to_v6());
  }
  return address;
}

struct target {
  std::string host;
  std::string port;
  std::optional<ip::address> address;
};

bool in_block(const ip::address& address, const std::string& block) {
  error_code ec;
  if (address.is_v4()) {
    const ip::network_v4 network = ip::make_network_v4(block, ec);
    if (ec) return false;
    const std::uint64_t hosts = std::uint64_t{1} << (32 - network.prefix_length());
    return (address.to_v4().to_uint() ^ network.network().to_uint()) < hosts;
  }
  const ip::network_v6 network = ip::make_network_v6(block, ec);
  if (ec) return false;
  const auto own = address.to_v6().to_bytes();
  const auto base = network.network().to_bytes();
  for (unsigned bit = 0; bit < network.prefix_length(); ++bit) {
    const unsigned mask = 0x80u >> (bit % 8);
    if (((own[bit / 8] ^ base[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

// One entry of NO_PROXY: "*", a CIDR block, an address or a name, the latter two perhaps with a
// port.
bool excludes(std::string entry, const target& to) {
  if (entry == "*") return true;
  if (entry.find('/') != std::string::npos) return to.address && in_block(*to.address, entry);
  std::string port;
  if (!to_address(entry)) {
    const std::size_t colon = entry.rfind(':');
    if (colon != std::string::npos && entry.find(']', colon) == std::string::npos) {
      port = entry.substr(colon + 1);
      entry.resize(colon);
    }
    if (entry.size() > 2 && entry.front() == '[' && entry.back() == ']') {
      entry = entry.substr(1, entry.size() - 2);
    }
  }
  if (entry.empty() || (!port.empty() && port != to.port)) return false;
  if (const auto address = to_address(entry)) return to.address && *to.address == *address;
  if (entry.starts_with("*.")) entry.erase(0, 1);
  // "example.com" is the name and those below it, ".example.com" only those below.
  if (entry.front() == '.') return to.host.ends_with(entry);
  return to.host == entry || to.host.ends_with("." + entry);
}

}  // namespace

namespace detail {

std::string checked_proxy(std::string_view proxy, std::string_view subject) {
  std::string url(proxy);
  // curl and Go take "host:port" as well.
  if (url.find("://") == std::string::npos) url.insert(0, "http://");
  const auto parsed = boost::urls::parse_uri(url);
  // The URL may hold a password: it is not quoted.
  if (!parsed || parsed->encoded_host().empty()) {
    throw error(errc::invalid_argument, subject,
                "is not the URL of a proxy, as in http://proxy.example:3128");
  }
  const std::string scheme = lower(parsed->scheme());
  constexpr std::array<std::string_view, 4> schemes = {"http", "https", "socks5", "socks5h"};
  if (std::find(schemes.begin(), schemes.end(), scheme) == schemes.end()) {
    throw error(errc::invalid_argument, subject,
                "has the scheme '" + scheme + "', but must have http, https, socks5 or socks5h");
  }
  return url;
}

}  // namespace detail

std::string proxy_from_environment(std::string_view url, const environment& from) {
  const auto parsed = boost::urls::parse_uri(url);
  if (!parsed || parsed->encoded_host().empty()) {
    throw error(errc::invalid_argument, url, "not an absolute URL");
  }
  const std::string scheme = lower(parsed->scheme());
  std::string name;
  const auto read = [&](const std::string& upper) {
    for (const std::string& each : {upper, lower(upper)}) {
      name = each;
      std::optional<std::string> value = detail::read_variable(from, each);
      if (value && !value->empty()) return *std::move(value);
    }
    return std::string();
  };
  const std::string excluded = read("NO_PROXY");
  std::string proxy;
  if (scheme == "https") {
    proxy = read("HTTPS_PROXY");
  } else if (scheme == "http") {
    // In a CGI program HTTP_PROXY is a header of whoever calls it.
    if (detail::read_variable(from, "REQUEST_METHOD").value_or("").empty()) {
      proxy = read("HTTP_PROXY");
    }
  }
  if (proxy.empty()) return {};

  target to;
  to.host = lower(parsed->host_address());
  to.port =
      parsed->port().empty() ? (scheme == "https" ? "443" : "80") : std::string(parsed->port());
  to.address = to_address(to.host);
  if (to.host == "localhost" || (to.address && to.address->is_loopback())) return {};
  for (std::size_t begin = 0; begin < excluded.size();) {
    const std::size_t end = std::min(excluded.find(',', begin), excluded.size());
    std::string entry = lower(std::string_view(excluded).substr(begin, end - begin));
    begin = end + 1;
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    entry.erase(entry.begin(), std::find_if_not(entry.begin(), entry.end(), blank));
    entry.erase(std::find_if_not(entry.rbegin(), entry.rend(), blank).base(), entry.end());
    if (!entry.empty() && excludes(entry, to)) return {};
  }
  return detail::checked_proxy(proxy, name);
}

}  // namespace mizzen::kubernetes
