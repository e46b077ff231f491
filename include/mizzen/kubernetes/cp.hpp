// Files to and from a container, as `kubectl cp`: by its own tar.
#pragma once

#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/exec.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mizzen::kubernetes {

struct copy_options {
  std::string container = {};
  mizzen::cancellation cancel = {};

  // Of all files together (bytes); error(resource_exhausted) beyond.
  std::uint64_t max_size = std::uint64_t{1} << 40;
};

struct copy_result {
  std::uint64_t files = 0;  // regular ones
  std::uint64_t directories = 0;
  std::uint64_t links = 0;  // symbolic ones
  std::uint64_t bytes = 0;  // in files
  // What is neither and was left out: devices, sockets, pipes.
  std::vector<std::string> skipped = {};
};

// Copies a file or folder of this machine to a path in the container, which is what it will be
// called there; the folder that it lies in must exist. Permissions, times and symbolic links are
// kept, owners are not. The container needs tar.
//
// Files are read and written on the executor's threads, which they block as long as the disk takes.
boost::asio::awaitable<copy_result> copy_to_pod(client k8s, std::string ns, std::string pod,
                                                std::filesystem::path from, std::string to,
                                                copy_options options = copy_options());

// Copies a file or folder of the container to a path on this machine, which is what it will be
// called here. What the container says is not trusted: nothing is written outside `to`, whatever
// names and links its archive has in it; a name that tries to is error(data_loss). Permissions
// without set-user-ID, times and symbolic links are kept.
boost::asio::awaitable<copy_result> copy_from_pod(client k8s, std::string ns, std::string pod,
                                                  std::string from, std::filesystem::path to,
                                                  copy_options options = copy_options());

}  // namespace mizzen::kubernetes
