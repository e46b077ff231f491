#include "tracking/rest_artifacts.hpp"

#include "tracking/rest_messages.hpp"
#include "tracking/text_sink.hpp"
#include "tracking/uri.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/transfer.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <optional>
#include <ranges>
#include <system_error>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view service = "/api/2.0/mlflow-artifacts/";
constexpr std::uint64_t most_parts = 10'000;  // of S3's multipart uploads

std::string encode_path(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const auto slash = std::min(path.find('/'), path.size());
    if (slash > 0) out += (out.empty() ? "" : "/") + http::percent_encode(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return out;
}

// What the server hands over to the store behind it.
struct server_capabilities {
  bool multipart_uploads = false;
  bool multipart_downloads = false;
};

class proxy final : public artifact_repository {
 public:
  proxy(std::shared_ptr<rest_connection> server, std::string base, std::string root,
        bool authorized, const multipart_settings& multipart)
      : server_(std::move(server)),
        base_(std::move(base)),
        root_(std::move(root)),
        authorized_(authorized),
        multipart_(multipart) {}

  void put_bytes(std::span<const std::byte> bytes, std::string_view path) override {
    http::request what = put_request(path);
    what.body.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    server_->exchange(std::move(what), {.authorized = authorized_});
  }

  void put_file(const fs::path& local, std::string_view path) override {
    const auto body = http::file_body(local);
    const std::uint64_t size = body->size().value();
    if (size >= multipart_.least && size > 0 && uploads_in_parts() &&
        send_in_parts(local, size, path)) {
      return;
    }
    server_->exchange(put_request(path), {.authorized = authorized_, .source = body});
  }

  std::vector<artifact_info> list(std::string_view path) override {
    http::request what;
    what.url = base_ + std::string(service) + "artifacts?" + encode_query({{"path", below(path)}});
    const http::response answer = server_->exchange(what, {.authorized = authorized_});
    std::vector<artifact_info> entries;
    const json body = parse(what, answer);
    for (const json& one : list_field(body, "files")) {
      artifact_info& entry = entries.emplace_back(read_artifact_info(one));
      if (entry.path.empty()) {
        throw error(errc::data_loss, what.url, "the answer has an artifact without a path");
      }
      if (!path.empty()) entry.path = append_location(path, entry.path);
    }
    // A file is listed as what is in it by some stores.
    if (entries.size() == 1 && !entries[0].is_directory && !path.empty() &&
        entries[0].path == append_location(path, fs::path(path).filename().string())) {
      return {};
    }
    std::ranges::sort(entries, {}, &artifact_info::path);
    return entries;
  }

  void fetch_file(std::string_view path, const fs::path& target) override {
    const auto sink = std::make_shared<http::file_sink>(target);
    fetch(path, sink);
    sink->commit();
  }

  std::string read(std::string_view path, std::size_t most) override {
    const auto sink = std::make_shared<text_sink>("artifact '" + std::string(path) + "'", most);
    fetch(path, sink);
    return sink->take();
  }

  void remove(std::string_view path) override {
    http::request what;
    what.method = "DELETE";
    what.url = url_of(path);
    try {
      server_->exchange(what, {.authorized = authorized_});
    } catch (const error& e) {
      if (e.code() != errc::not_found) throw;
    }
  }

 private:
  static json parse(const http::request& what, const http::response& answer) {
    try {
      json body = parse_answer(answer.body);
      if (body.is_object()) return body;
    } catch (const json::exception&) {  // NOLINT(bugprone-empty-catch): said below
    }
    throw error(errc::data_loss, what.url, "the answer is not a JSON object");
  }

  std::string below(std::string_view path) const {
    return root_.empty() ? std::string(path) : append_location(root_, path);
  }

  std::string url_of(std::string_view path) const {
    return base_ + std::string(service) + "artifacts/" + encode_path(below(path));
  }

  http::request put_request(std::string_view path) const {
    http::request what;
    what.method = "PUT";
    what.url = url_of(path);
    what.headers.set("Content-Type", "application/octet-stream");
    return what;
  }

  bool uploads_in_parts() {
    return multipart_.enabled ? *multipart_.enabled : capabilities().multipart_uploads;
  }
  bool downloads_by_url() {
    return multipart_.downloads_enabled ? *multipart_.downloads_enabled
                                        : capabilities().multipart_downloads;
  }

  server_capabilities capabilities() {
    const std::scoped_lock lock(mutex_);
    if (capabilities_) return *capabilities_;
    http::request what;
    what.url = base_ + "/api/3.0/mlflow/server-info";
    const http::response answer =
        server_->exchange(what, {.authorized = authorized_, .must_succeed = false});
    capabilities_.emplace();
    try {
      if (answer.ok()) {
        const json body = parse(what, answer);
        capabilities_ = {flag_field(body, "multipart_uploads_enabled"),
                         flag_field(body, "multipart_downloads_enabled")};
      }
    } catch (const error& e) {
      if (e.code() != errc::data_loss) throw;  // else an older server
    }
    return *capabilities_;
  }

  // From the store itself where the server signs a URL for that, and else through the server.
  void fetch(std::string_view path, const std::shared_ptr<http::resumable_sink>& sink) {
    http::request what;
    if (downloads_by_url() && use_signed_url(what, path)) {
      // Such a URL lasts for minutes only: each further attempt has its own.
      bool first = true;
      const auto renew = [&](http::request& again) {
        if (!std::exchange(first, false)) use_signed_url(again, path);
      };
      server_->exchange(what, {.authorized = false, .sink = sink, .prepare = renew});
      return;
    }
    what.url = url_of(path);
    server_->exchange(what, {.authorized = authorized_, .sink = sink});
  }

  // False if the server cannot sign after all.
  bool use_signed_url(http::request& into, std::string_view path) const {
    http::request what;
    what.url = base_ + std::string(service) + "presigned/" + encode_path(below(path));
    try {
      const http::response answer = server_->exchange(what, {.authorized = authorized_});
      const json body = parse(what, answer);
      into.url = text_field(body, "url");
      set_headers(into, object_field(body, "headers"));
      return true;
    } catch (const error& e) {
      if (e.code() == errc::unimplemented) return false;
      throw;
    }
  }

  static void set_headers(http::request& into, const json& headers) {
    for (const auto& [key, value] : headers.items()) {
      into.headers.set(key, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }

  json multipart_call(const char* step, std::string_view path, const json& body, repeatable again) {
    const fs::path whole = below(path);
    http::request what;
    what.method = "POST";
    what.url = base_ + std::string(service) + "mpu/" + step + "/" +
               encode_path(whole.parent_path().generic_string());
    what.headers.set("Content-Type", "application/json");
    what.body = body.dump();
    const http::response answer =
        server_->exchange(what, {.again = again, .authorized = authorized_});
    return answer.body.empty() ? json::object() : parse(what, answer);
  }

  // False when the server cannot do it after all.
  bool send_in_parts(const fs::path& local, std::uint64_t size, std::string_view path) {
    const std::string name = fs::path(path).filename().string();
    const std::uint64_t part = std::max(multipart_.part, (size + most_parts - 1) / most_parts);
    const std::uint64_t count = (size + part - 1) / part;
    json created;
    try {
      created =
          multipart_call("create", path, {{"path", name}, {"num_parts", count}}, repeatable::no);
    } catch (const error& e) {
      if (e.code() == errc::unimplemented) return false;
      throw;
    }
    const std::string upload = text_field(created, "upload_id");
    try {
      const json& credentials = list_field(created, "credentials");
      if (credentials.size() != count) {
        throw error(errc::data_loss, "answer.credentials",
                    "there are " + std::to_string(credentials.size()) + " for " +
                        std::to_string(count) + " parts");
      }
      json parts = json::array();
      for (std::uint64_t i = 0; i < count; ++i) {
        const json& credential = credentials[i];
        http::request what;
        what.method = "PUT";
        what.url = text_field(credential, "url");
        set_headers(what, object_field(credential, "headers"));
        const auto body = http::file_body(local, i * part, std::min(part, size - i * part));
        const http::response answer =
            server_->exchange(what, {.authorized = false, .source = body});
        parts.push_back({{"part_number", integer_field(credential, "part_number")},
                         {"etag", std::string(answer.headers.value("ETag"))},
                         {"url", what.url}});
      }
      multipart_call("complete", path, {{"path", name}, {"upload_id", upload}, {"parts", parts}},
                     repeatable::no);
    } catch (const std::exception&) {
      try {
        multipart_call("abort", path, {{"path", name}, {"upload_id", upload}}, repeatable::yes);
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the first one counts
      }
      throw;
    }
    return true;
  }

  const std::shared_ptr<rest_connection> server_;
  const std::string base_;  // "https://host:port/prefix"
  const std::string root_;  // "1/<run id>/artifacts"
  const bool authorized_;
  const multipart_settings multipart_;
  std::mutex mutex_;
  std::optional<server_capabilities> capabilities_;
};

}  // namespace

multipart_settings resolve_multipart_settings(const environment& env) {
  multipart_settings out;
  const auto bytes = [&](std::string_view name, std::uint64_t fallback) {
    const auto text = env(name);
    if (!text) return fallback;
    std::uint64_t value = 0;
    const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (failed != std::errc{} || end != text->data() + text->size() || value == 0) {
      throw error(errc::invalid_argument, name, "'" + *text + "' is not a number of bytes");
    }
    return value;
  };
  out.least = bytes("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", out.least);
  out.part = bytes("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", out.part);
  if (const auto text = env("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD")) {
    out.enabled = parse_flag("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", *text);
  }
  if (const auto text = env("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD")) {
    out.downloads_enabled = parse_flag("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", *text);
  }
  return out;
}

std::shared_ptr<artifact_repository> proxy_repository(std::shared_ptr<rest_connection> server,
                                                      std::string_view location,
                                                      const multipart_settings& multipart) {
  constexpr std::string_view scheme = "mlflow-artifacts:";
  if (!location.starts_with(scheme)) {
    throw error(errc::invalid_argument, "artifact location '" + std::string(location) + "'",
                "it is not an mlflow-artifacts: location");
  }
  std::string_view rest = location.substr(scheme.size());
  std::string base = server->settings().url;
  bool authorized = true;
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    const std::string_view host = rest.substr(0, std::min(rest.find('/'), rest.size()));
    rest.remove_prefix(host.size());
    if (!host.empty()) {
      const auto begin = base.find("://") + 3;
      const auto end = std::min(base.find('/', begin), base.size());
      authorized = base.substr(begin, end - begin) == host;
      base.replace(begin, end - begin, host);
    }
  }
  while (rest.starts_with('/')) rest.remove_prefix(1);
  while (rest.ends_with('/')) rest.remove_suffix(1);
  return std::make_shared<proxy>(std::move(server), std::move(base), std::string(rest), authorized,
                                 multipart);
}

}  // namespace mizzen::tracking::detail
