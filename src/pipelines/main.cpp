#include <mizzen/core/error.hpp>
#include <mizzen/pipelines/main.hpp>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <exception>
#include <optional>
#include <pthread.h>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace mizzen::pipelines {
namespace {

struct usage_error {
  std::string text;
};

void print(std::FILE* to, const std::string& text) { std::fwrite(text.data(), 1, text.size(), to); }

std::string usage(const std::string& program, const graph& graph) {
  std::string text = "usage: " + program + " run [--parameter=value ...] [--root=DIR] " +
                     "[--parallelism=N] [--no-cache] [--fail-fast]\n       " + program +
                     " graph [--dot | --mermaid]\n";
  if (!graph.parameters.empty()) text += "parameters of " + graph.name + ":\n";
  for (const pipeline_parameter& parameter : graph.parameters) {
    text += "  --" + parameter.name + "=" + std::string(to_string(parameter.kind));
    text += parameter.default_value ? " (default " + parameter.default_value->dump() + ")\n"
                                    : " (required)\n";
  }
  return text;
}

json argument_value(const pipeline_parameter& parameter, const std::string& text) {
  if (parameter.kind == parameter_kind::string) return text;
  json value = json::parse(text, nullptr, false);
  return value.is_discarded() ? json(text) : value;
}

// Turns SIGINT and SIGTERM into a stop request for as long as it lives: the signals are blocked
// (before the run starts threads, which inherit that) and awaited by a thread of its own.
class signal_listener {
 public:
  signal_listener() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    listener_ = std::jthread([this](const std::stop_token& stop) {
      constexpr timespec pause{.tv_sec = 0, .tv_nsec = 100'000'000};
      while (!stop.stop_requested()) {
        if (sigtimedwait(&signals_, nullptr, &pause) < 0) continue;
        if (source_.stop_requested()) std::_Exit(1);
        print(stderr, "stopping; once more to end at once\n");
        source_.request_stop();
      }
    });
  }
  ~signal_listener() {
    listener_.request_stop();
    listener_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  signal_listener(const signal_listener&) = delete;
  signal_listener& operator=(const signal_listener&) = delete;

  std::stop_source& source() { return source_; }

 private:
  sigset_t signals_{}, before_{};
  std::stop_source source_;
  std::jthread listener_;
};

int run_command(const pipeline& pipeline, const json& arguments, run_options options) {
  signal_listener signals;
  // The caller's own token still counts.
  const std::stop_callback forward(options.cancel.token, [&] { signals.source().request_stop(); });
  options.cancel.token = signals.source().get_token();
  if (!options.observer) options.observer = progress_printer();
  const run_result result = run(pipeline, arguments, options);
  std::string text = pipeline.name() + ": ";
  for (const task_state state : {task_state::succeeded, task_state::cached, task_state::skipped,
                                 task_state::failed, task_state::cancelled}) {
    const std::size_t count = result.count(state);
    if (count > 0) text += std::to_string(count) + " " + std::string(to_string(state)) + "  ";
  }
  print(stdout, text + "\n" + result.folder.string() + "\n");
  return result.ok() ? 0 : 1;
}

int command_line(const std::vector<std::string>& words, const pipeline& pipeline,
                 run_options options) {
  const graph& graph = pipeline.graph();
  std::string command = "run";
  auto word = words.begin() + 1;
  if (word != words.end() && !word->starts_with("-")) command = *word++;
  if (command == "help" || (word != words.end() && *word == "--help")) {
    print(stdout, usage(words.front(), graph));
    return 0;
  }
  if (command == "graph") {
    const std::string form = word == words.end() ? "--mermaid" : *word++;
    if (word != words.end()) throw usage_error{"unexpected '" + *word + "'"};
    if (form != "--dot" && form != "--mermaid") throw usage_error{"unknown form '" + form + "'"};
    print(stdout, form == "--dot" ? to_dot(graph) : to_mermaid(graph));
    return 0;
  }
  if (command != "run") throw usage_error{"unknown command '" + command + "'"};
  json arguments = json::object();
  for (; word != words.end(); ++word) {
    const std::size_t equals = word->find('=');
    const bool valued = equals != std::string::npos;
    if (!word->starts_with("--")) throw usage_error{"unexpected '" + *word + "'"};
    const std::string name = word->substr(2, valued ? equals - 2 : std::string::npos);
    const std::string value = valued ? word->substr(equals + 1) : "";
    // The pipeline's own parameters come first, so that no option of ours can hide one.
    const auto parameter =
        std::find_if(graph.parameters.begin(), graph.parameters.end(),
                     [&](const pipeline_parameter& each) { return each.name == name; });
    if (parameter != graph.parameters.end()) {
      if (!valued) throw usage_error{"--" + name + " needs a value: --" + name + "=…"};
      if (arguments.contains(name)) throw usage_error{"--" + name + " is given twice"};
      arguments[name] = argument_value(*parameter, value);
    } else if (name == "root" && valued && !value.empty()) {
      options.root = value;
    } else if (name == "parallelism" && valued) {
      const char* end = value.data() + value.size();
      const auto [at, problem] = std::from_chars(value.data(), end, options.parallelism);
      if (problem != std::errc() || at != end || options.parallelism == 0) {
        throw usage_error{"--parallelism needs a number from 1"};
      }
    } else if (name == "no-cache" && !valued) {
      options.cache = false;
    } else if (name == "fail-fast" && !valued) {
      options.fail_fast = true;
    } else {
      throw usage_error{"unknown option or parameter '" + *word + "'"};
    }
  }
  return run_command(pipeline, arguments, std::move(options));
}

}  // namespace

int main(int argc, char** argv, const pipeline& pipeline, run_options options) {
  try {
    std::vector<std::string> words(argv, argv + argc);
    if (words.empty()) words.emplace_back("program");
    try {
      return command_line(words, pipeline, std::move(options));
    } catch (const usage_error& wrong) {
      print(stderr,
            words.front() + ": " + wrong.text + "\n" + usage(words.front(), pipeline.graph()));
      return 2;
    } catch (const error& wrong) {
      const bool users = std::string_view(wrong.what()).starts_with("arguments.");
      print(stderr, words.front() + ": " + wrong.what() + "\n" +
                        (users ? usage(words.front(), pipeline.graph()) : ""));
      return users ? 2 : 1;
    }
  } catch (const std::exception& problem) {
    std::fputs(problem.what(), stderr);
    std::fputc('\n', stderr);
  } catch (...) {
    std::fputs("unknown exception\n", stderr);
  }
  return 1;
}

}  // namespace mizzen::pipelines
