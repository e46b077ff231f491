#include <mizzen/core/error.hpp>
#include <mizzen/serving/model.hpp>
#include <mizzen/serving/server.hpp>
#include <mizzen/serving/v2.hpp>

#include <utility>

namespace mizzen::serving {
namespace {

using inference::tensor_map;

class session_model final : public model {
 public:
  explicit session_model(inference::session session)
      : session_(std::move(session)),
        metadata_{
            .platform = "onnx_mizzen", .inputs = session_.inputs(), .outputs = session_.outputs()} {
    for (const auto* list : {&metadata_.inputs, &metadata_.outputs}) {
      for (const inference::value_info& each : *list) {
        if (v2::datatype_name(each.type).empty()) {
          throw error(
              errc::unimplemented, "model '" + each.name + "'",
              "the Open Inference Protocol has no datatype for " + inference::to_string(each));
        }
      }
    }
  }

  const model_metadata& metadata() const noexcept override { return metadata_; }

  tensor_map infer(const infer_call& call) const override {
    const inference::run_options options{.cancel = call.cancel};
    if (call.outputs.empty()) return session_.run(call.inputs, options);
    std::vector<inference::named_input> inputs;
    for (const auto& [name, value] : call.inputs) inputs.emplace_back(name, value);
    tensor_map results;
    std::vector<inference::named_output> outputs;
    for (const std::string& name : call.outputs) outputs.emplace_back(name, results[name]);
    session_.run_into(inputs, outputs, options);
    return results;
  }

 private:
  inference::session session_;
  model_metadata metadata_;
};

}  // namespace

std::shared_ptr<const model> make_model(inference::session session) {
  return std::make_shared<session_model>(std::move(session));
}

void server::add_model(std::string name, std::string version, inference::session session) {
  add_model(std::move(name), std::move(version), make_model(std::move(session)));
}

}  // namespace mizzen::serving
