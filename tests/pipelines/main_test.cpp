#include "steps.hpp"

namespace mizzen::pipelines {
namespace {

using namespace test;
using testing::HasSubstr;

class command_line : public pipeline_test {
 protected:
  int call(std::vector<std::string> words) {
    words.insert(words.begin(), "program");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    run_options quiet = options();
    const int code = pipelines::main(static_cast<int>(argv.size()), argv.data(), example, quiet);
    output = testing::internal::GetCapturedStdout();
    errors = testing::internal::GetCapturedStderr();
    return code;
  }

  const pipeline example{"example", [](pipeline_builder& b) {
                           b.add(make, {.text = b.parameter<std::string>("text", "d")});
                           b.add(component{"check",
                                           [](add_io& io) {
                                             if (io.a > 5) throw std::runtime_error("too much");
                                             io.sum = *io.a;
                                           }},
                                 {.a = b.parameter<int>("n", 1)});
                         }};
  std::string output, errors;
};

TEST_F(command_line, runs) {
  EXPECT_EQ(call({"run", "--text=12", "--n=3"}), 0) << errors;
  EXPECT_THAT(output, HasSubstr("example: 2 succeeded"));
  EXPECT_THAT(output, HasSubstr((root / "example").string()));
  EXPECT_THAT(errors, HasSubstr("make            succeeded"));
  EXPECT_EQ(call({"--text=12", "--n=4"}), 0) << "run is the default";
  EXPECT_THAT(output, HasSubstr("1 succeeded  1 cached"));
  EXPECT_EQ(call({"run", "--no-cache", "--parallelism=1", "--fail-fast"}), 0);
  EXPECT_EQ(call({"run", "--root=" + (root / "elsewhere").string()}), 0);
  EXPECT_TRUE(std::filesystem::exists(root / "elsewhere" / "example"));
}

TEST_F(command_line, tells_failure_from_wrong_usage) {
  EXPECT_EQ(call({"run", "--n=6"}), 1);
  EXPECT_THAT(errors, HasSubstr("too much"));
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{"fly"},
                                             {"run", "--m=1"},
                                             {"run", "--n"},
                                             {"run", "--n=1", "--n=2"},
                                             {"run", "--n=x"},
                                             {"run", "word"},
                                             {"run", "--parallelism=0"},
                                             {"run", "--parallelism=2x"},
                                             {"run", "--no-cache=1"},
                                             {"graph", "--svg"},
                                             {"graph", "--dot", "x"}}) {
    EXPECT_EQ(call(wrong), 2) << testing::PrintToString(wrong);
    EXPECT_THAT(errors, HasSubstr("usage: program run")) << testing::PrintToString(wrong);
  }
}

TEST_F(command_line, draws_and_helps) {
  EXPECT_EQ(call({"graph", "--dot"}), 0);
  EXPECT_EQ(output, to_dot(example.graph()));
  EXPECT_EQ(call({"graph"}), 0);
  EXPECT_EQ(output, to_mermaid(example.graph()));
  EXPECT_EQ(call({"help"}), 0);
  EXPECT_THAT(output, HasSubstr("--n=NUMBER_INTEGER (default 1)"));
}

}  // namespace
}  // namespace mizzen::pipelines
