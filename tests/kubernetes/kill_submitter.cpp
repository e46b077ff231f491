// A submitter to be killed: submits one Job on record, waits for it, says how it ended.
// usage: kill_submitter JOURNAL NAMESPACE NAME [TTL seconds]; the cluster is KUBECONFIG's.
#include <mizzen/kubernetes/builders.hpp>
#include <mizzen/kubernetes/submission.hpp>

#include <exception>
#include <iostream>
#include <string>

int main(int argc, char** argv) {
  using namespace mizzen::kubernetes;
  try {
    if (argc < 4) throw std::invalid_argument("usage: kill_submitter JOURNAL NAMESPACE NAME [TTL]");
    auto work = job{argv[3]}.in_namespace(argv[2]).image("none").backoff_limit(0);
    work.pod_annotation("mizzen.test/after", "50ms");
    if (argc > 4) work.ttl(std::chrono::seconds(std::stoi(argv[4])));
    blocking k8s;
    submit_options options;
    options.journal = journal(argv[1]);
    const submission made = k8s.run(submit(k8s.client(), work, options));
    const outcome end = k8s.run(made.wait());
    std::cout << made.uid() << ' ' << to_string(end.state) << std::endl;
    return 0;
  } catch (const std::exception& failure) {
    std::cerr << failure.what() << std::endl;
    return 1;
  }
}
