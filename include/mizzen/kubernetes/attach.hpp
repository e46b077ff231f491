// To the program that a container was started with.
#pragma once

#include <mizzen/kubernetes/exec.hpp>

#include <boost/asio/awaitable.hpp>

#include <string>
#include <string_view>

namespace mizzen::kubernetes {

// As exec, but options.command is not used, and stdin_ and tty must be what the container was made
// with. Only what the program prints from now on is read; see logs.hpp for the rest.
boost::asio::awaitable<remote_process> attach(client k8s, std::string ns, std::string pod,
                                              exec_options options);

// The path and query of the request.
std::string attach_url(std::string_view ns, std::string_view pod, const exec_options& options);

}  // namespace mizzen::kubernetes
