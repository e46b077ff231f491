// Who am I to which cluster? Lists the contexts of the kubeconfig, connects with one of them and
// asks the server:  mizzen_example_whoami [context]
#include <mizzen/kubernetes.hpp>

#include <exception>
#include <iostream>
#include <utility>

namespace mz = mizzen;

int main(int argc, char** argv) {
  try {
    // Not needed to connect; config::from_environment reads the same files.
    const auto files =
        mz::kubernetes::kubeconfig::load(mz::kubernetes::kubeconfig::default_files());
    for (const auto& [name, context] : files.contexts) {
      std::cout << (name == files.current_context ? "* " : "  ") << name << " -> "
                << context.cluster << '\n';
    }

    // --8<-- [start:config]
    mz::kubernetes::load_options options{.log = mz::stderr_logger(mz::log_level::warning)};
    if (argc > 1) options.context = argv[1];
    const auto config = mz::kubernetes::config::from_environment(options);

    mz::kubernetes::blocking k8s(config, {.log = options.log});
    // --8<-- [end:config]

    mz::http::request review{.method = "POST",
                             .url = "/apis/authentication.k8s.io/v1/selfsubjectreviews"};
    review.headers.set("Content-Type", "application/json");
    review.body = R"({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"})";
    mz::kubernetes::client client = k8s.client();
    const auto answer = k8s.run(client.send(std::move(review)));
    const mz::json who = mz::json::parse(answer.body).at("status").at("userInfo");
    std::cout << who.at("username").get<std::string>() << " at " << config.server << " ("
              << config.origin << "), namespace " << config.default_namespace << '\n';
    for (const auto& group : who.value("groups", mz::json::array())) {
      std::cout << "  in " << group.get<std::string>() << '\n';
    }
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
