#include "kubernetes/tar.hpp"
#include "kubernetes/untar.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/cp.hpp>

#include <boost/asio/co_spawn.hpp>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <unistd.h>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

namespace asio = boost::asio;
namespace fs = std::filesystem;

namespace {

// What is gathered before it is sent.
constexpr std::size_t gathered = std::size_t{64} << 10;
// What is kept of tar's complaints.
constexpr std::size_t longest_complaint = 4000;

[[noreturn]] void fail(const fs::path& path, std::string_view doing) {
  const int why = errno;
  throw error(why == ENOENT ? errc::not_found : errc::failed_precondition, path.string(),
              std::string(doing) + ": " + std::strerror(why));
}

// A path in the container: the folder that it is in, and what it is called there.
std::pair<std::string, std::string> split_remote(std::string path, const char* field) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const std::size_t slash = path.rfind('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") {
    throw error(errc::invalid_argument, field, "must end with a name: '" + path + "' does not");
  }
  std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
  if (folder.empty()) folder = "/";
  return {std::move(folder), std::move(name)};
}

// Files of this machine as an archive, piece by piece.
class archiver {
 public:
  archiver(const fs::path& from, const std::string& name, std::uint64_t max_size)
      : max_size_(max_size) {
    waiting_.push_back({from, name});
  }
  ~archiver() {
    if (fd_ >= 0) ::close(fd_);
  }
  archiver(const archiver&) = delete;
  archiver& operator=(const archiver&) = delete;

  // The next piece; empty at the end.
  std::string next() {
    std::string out;
    while (out.size() < gathered && !ended_) {
      if (fd_ >= 0) {
        read_file(out);
      } else if (!waiting_.empty()) {
        begin(out);
      } else {
        out += detail::tar_end();
        ended_ = true;
      }
    }
    return out;
  }

  const copy_result& result() const { return result_; }

 private:
  struct item {
    fs::path path;
    std::string name;
  };

  void begin(std::string& out) {
    const item what = std::move(waiting_.back());
    waiting_.pop_back();
    struct stat about{};
    if (::lstat(what.path.c_str(), &about) != 0) fail(what.path, "cannot be read");
    detail::tar_entry entry;
    entry.path = what.name;
    entry.mode = about.st_mode & 0777U;
    entry.mtime = about.st_mtim.tv_sec;
    if (S_ISDIR(about.st_mode)) {
      entry.what = detail::tar_entry::kind::directory;
      entry.path += '/';
      ++result_.directories;
      std::error_code ec;
      for (const fs::directory_entry& each : fs::directory_iterator(what.path, ec)) {
        waiting_.push_back({each.path(), what.name + "/" + each.path().filename().string()});
      }
      if (ec) {
        errno = ec.value();
        fail(what.path, "cannot be read");
      }
    } else if (S_ISLNK(about.st_mode)) {
      entry.what = detail::tar_entry::kind::symlink;
      entry.link = fs::read_symlink(what.path).string();
      ++result_.links;
    } else if (S_ISREG(about.st_mode)) {
      entry.size = static_cast<std::uint64_t>(about.st_size);
      fd_ = ::open(what.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
      if (fd_ < 0) fail(what.path, "cannot be opened");
      path_ = what.path;
      left_ = entry.size;
      padding_ = detail::tar_padding(entry.size);
      ++result_.files;
      result_.bytes += entry.size;
      if (result_.bytes > max_size_) {
        throw error(errc::resource_exhausted, what.path.string(),
                    "the files are larger than " + std::to_string(max_size_) + " bytes");
      }
    } else {
      result_.skipped.push_back(what.name);
      return;
    }
    out += detail::tar_header(entry);
  }

  void read_file(std::string& out) {
    const std::size_t before = out.size();
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left_, gathered));
    out.resize(before + wanted);
    const ssize_t count = wanted == 0 ? 0 : ::read(fd_, out.data() + before, wanted);
    if (count < 0) fail(path_, "cannot be read");
    if (count == 0 && wanted > 0) {
      throw error(errc::aborted, path_.string(), "became smaller while it was read");
    }
    out.resize(before + static_cast<std::size_t>(count));
    left_ -= static_cast<std::uint64_t>(count);
    if (left_ > 0) return;
    out.append(padding_, '\0');
    ::close(std::exchange(fd_, -1));
  }

  std::uint64_t max_size_;
  std::vector<item> waiting_;
  fs::path path_;
  int fd_ = -1;
  std::uint64_t left_ = 0;
  std::size_t padding_ = 0;
  bool ended_ = false;
  copy_result result_;
};

struct sending {
  std::unique_ptr<archiver> from;
  std::optional<remote_process> to;
  std::exception_ptr failure;
};

// Beside the reading of what tar complains about.
asio::awaitable<void> send_all(std::shared_ptr<sending> state) {
  try {
    for (;;) {
      std::string piece;
      try {
        piece = state->from->next();
      } catch (...) {
        state->failure = std::current_exception();
        state->to->close();
        co_return;
      }
      if (piece.empty()) break;
      co_await state->to->write(piece);
    }
    co_await state->to->close_stdin();
  } catch (const error&) {
    // tar has ended first, and says why.
  }
}

void complain(const std::string& subject, const process_exit& exit, const std::string& complaint) {
  if (exit.code == 0) return;
  const bool missing = complaint.find("o such file") != std::string::npos;
  throw error(missing ? errc::not_found : errc::failed_precondition, subject,
              "tar in the container ended with " + std::to_string(exit.code) + ": " + complaint);
}

}  // namespace

asio::awaitable<copy_result> copy_to_pod(client k8s, std::string ns, std::string pod, fs::path from,
                                         std::string to, copy_options options) {
  const auto [folder, name] = split_remote(to, "to");
  const std::string subject = ns + "/" + pod + ":" + to;
  const auto state = std::make_shared<sending>();
  state->from = std::make_unique<archiver>(from, name, options.max_size);
  struct stat about{};
  if (::lstat(from.c_str(), &about) != 0) fail(from, "cannot be read");
  exec_options with;
  with.command = {"tar", "-xof", "-", "-C", folder};
  with.container = options.container;
  with.cancel = options.cancel;
  with.stdin_ = true;
  const asio::any_io_executor executor = k8s.executor();
  auto starting = exec(std::move(k8s), ns, pod, std::move(with));
  state->to.emplace(co_await std::move(starting));
  if (state->to->protocol() != "v5.channel.k8s.io") {
    throw error(errc::unimplemented, subject,
                "input needs v5.channel.k8s.io, which the server does not speak");
  }
  asio::co_spawn(executor, send_all(state), [state](const std::exception_ptr&) {});
  std::string complaint;
  std::exception_ptr failure;
  try {
    for (;;) {
      const std::optional<process_output> piece = co_await state->to->read();
      if (!piece) break;
      const std::size_t room = longest_complaint - complaint.size();
      complaint.append(piece->data.substr(0, room));
    }
  } catch (...) {
    failure = std::current_exception();
  }
  if (state->failure) std::rethrow_exception(state->failure);
  if (failure) std::rethrow_exception(failure);
  complain(subject, state->to->exit(), complaint);
  co_return state->from->result();
}

asio::awaitable<copy_result> copy_from_pod(client k8s, std::string ns, std::string pod,
                                           std::string from, fs::path to, copy_options options) {
  const auto [folder, name] = split_remote(from, "from");
  const std::string subject = ns + "/" + pod + ":" + from;
  exec_options with;
  with.command = {"tar", "-cf", "-", "-C", folder, "./" + name};
  with.container = options.container;
  with.cancel = options.cancel;
  auto starting = exec(std::move(k8s), ns, pod, std::move(with));
  remote_process process = co_await std::move(starting);
  detail::tar_reader reader;
  detail::untar writer(to, name, options.max_size, subject);
  std::string complaint;
  bool whole = false;
  for (;;) {
    const std::optional<process_output> piece = co_await process.read();
    if (!piece) break;
    if (piece->from == output_stream::stderr_) {
      const std::size_t room = longest_complaint - complaint.size();
      complaint.append(piece->data.substr(0, room));
      continue;
    }
    using event = detail::tar_reader::event;
    std::string_view data = piece->data;
    for (bool more = true; more;) {
      switch (reader.next(data)) {
        case event::need_more:
          more = false;
          break;
        case event::entry:
          writer.begin(reader.entry());
          break;
        case event::content:
          writer.write(reader.content());
          break;
        case event::end:
          whole = true;
          more = false;
          break;
        case event::failed:
          throw error(errc::data_loss, subject, "what came is no archive: " + reader.failure());
      }
    }
  }
  complain(subject, process.exit(), complaint);
  if (!whole) throw error(errc::data_loss, subject, "the archive is cut off");
  co_return writer.finish();
}

}  // namespace mizzen::kubernetes
