// The C++ side of the test against a real object store; everything else comes from the environment:
//   s3_program log URI EXPERIMENT LOCATION FILE_OR_FOLDER   a run with these artifacts; prints its
//   id s3_program list URI RUN [PATH]                          one JSON object a line s3_program
//   read URI RUN PATH s3_program get URI RUN PATH FOLDER                      prints where it is
//   s3_program delete URI RUN PATH
// An error prints its code and text; exit status 1.
#include <mizzen/core.hpp>
#include <mizzen/tracking.hpp>

#include <iostream>
#include <string>
#include <vector>

namespace mz = mizzen;
using namespace mz::tracking;

namespace {

int work(const std::vector<std::string>& args) {
  const std::string& what = args.at(0);
  client c({.uri = args.at(1), .server = {.proxy = ""}});
  if (what == "log") {
    const std::string& location = args.at(3);
    if (!c.find_experiment(args.at(2))) {
      c.create_experiment(args.at(2), {.artifact_location = location});
    }
    auto one = c.start_run(args.at(2), {.name = "from C++"});
    one.log_artifact(args.at(4));
    one.log_text("hello\n", "notes/odd näme +plus&=.txt");
    std::cout << one.id() << "\n";
    one.end(run_status::finished);
  } else if (what == "list") {
    for (const artifact_info& each : c.list_artifacts(args.at(2), args.size() > 3 ? args[3] : "")) {
      std::cout << mz::json{{"path", each.path}, {"dir", each.is_directory}, {"size", each.size}}
                << "\n";
    }
  } else if (what == "read") {
    std::cout << c.read_artifact(args.at(2), args.at(3));
  } else if (what == "get") {
    std::cout << c.download_artifacts(args.at(2), args.at(4), args.at(3)).string() << "\n";
  } else if (what == "delete") {
    c.resume_run(args.at(2)).delete_artifacts(args.at(3));
  } else {
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return work({argv + 1, argv + argc});
  } catch (const mz::error& e) {
    std::cout << mz::to_string(e.code()) << "\n" << e.what() << "\n";
    return 1;
  }
}
