#include "tracking/rest_artifacts.hpp"

#include "tracking/rest_messages.hpp"
#include "tracking/uri.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

#include <algorithm>
#include <charconv>
#include <fstream>
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

// A piece of a file.
std::string read_piece(const fs::path& file, std::uint64_t offset, std::uint64_t size) {
  std::ifstream in(file, std::ios::binary);
  std::string bytes(size, '\0');
  in.seekg(static_cast<std::streamoff>(offset));
  in.read(bytes.data(), static_cast<std::streamsize>(size));
  if (!in || static_cast<std::uint64_t>(in.gcount()) != size) {
    throw error(errc::unavailable, "artifact '" + file.string() + "'",
                "it cannot be read, or became shorter while it was sent");
  }
  return bytes;
}

std::uint64_t size_of(const fs::path& file) {
  std::error_code failed;
  const auto size = fs::file_size(file, failed);
  if (!failed) return size;
  throw error(
      failed == std::errc::no_such_file_or_directory ? errc::not_found : errc::permission_denied,
      "artifact '" + file.string() + "'", "it cannot be read: " + failed.message());
}

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
    send_whole(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), path);
  }

  void put_file(const fs::path& local, std::string_view path) override {
    const std::uint64_t size = size_of(local);
    if (size >= multipart_.least && size > 0 && has_multipart() &&
        send_in_parts(local, size, path)) {
      return;
    }
    send_whole(read_piece(local, 0, size), path);
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
    http::request what;
    what.url = url_of(path);
    std::error_code failed;
    fs::create_directories(target.parent_path(), failed);
    const fs::path temporary = target.parent_path() / (".mizzen-" + random_hex_id() + ".tmp");
    const auto refuse = [&](errc code, const std::string& why) {
      throw error(code, "artifact '" + target.string() + "'", "it cannot be written: " + why);
    };
    try {
      std::ofstream out;
      server_->download(
          what, authorized_,
          [&] {
            out.close();
            out.open(temporary, std::ios::binary | std::ios::trunc);
            if (!out) refuse(errc::permission_denied, "its folder cannot be made or written");
          },
          [&](std::string_view piece) {
            out.write(piece.data(), static_cast<std::streamsize>(piece.size()));
            if (!out) refuse(errc::resource_exhausted, "the disk may be full");
          });
      out.close();
      if (!out) refuse(errc::resource_exhausted, "the disk may be full");
      fs::rename(temporary, target, failed);
      if (failed) refuse(errc::failed_precondition, failed.message());
    } catch (...) {
      fs::remove(temporary, failed);
      throw;
    }
  }

  std::string read(std::string_view path, std::size_t most) override {
    http::request what;
    what.url = url_of(path);
    std::string bytes;
    server_->download(
        what, authorized_, [&] { bytes.clear(); },
        [&](std::string_view piece) {
          if (bytes.size() + piece.size() > most) {
            throw error(errc::resource_exhausted, "artifact '" + std::string(path) + "'",
                        "it is larger than " + std::to_string(most) + " bytes");
          }
          bytes += piece;
        });
    return bytes;
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

  void send_whole(std::string bytes, std::string_view path) {
    http::request what;
    what.method = "PUT";
    what.url = url_of(path);
    what.headers.set("Content-Type", "application/octet-stream");
    what.body = std::move(bytes);
    server_->exchange(std::move(what), {.authorized = authorized_});
  }

  bool has_multipart() {
    if (multipart_.enabled) return *multipart_.enabled;
    http::request what;
    what.url = base_ + "/api/3.0/mlflow/server-info";
    try {
      const http::response answer =
          server_->exchange(what, {.authorized = authorized_, .must_succeed = false});
      return answer.ok() && flag_field(parse(what, answer), "multipart_uploads_enabled");
    } catch (const error& e) {
      if (e.code() == errc::data_loss) return false;  // an older server
      throw;
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
        for (const auto& [key, value] : object_field(credential, "headers").items()) {
          what.headers.set(key, value.is_string() ? value.get<std::string>() : value.dump());
        }
        what.body = read_piece(local, i * part, std::min(part, size - i * part));
        const http::response answer = server_->exchange(what, {.authorized = false});
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
