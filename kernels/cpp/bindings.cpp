// The Python module worldpm_kernels._core. Arrays come as plain buffers (numpy); what is wrong with
// one is a ValueError that names it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cstring>
#include <limits>

#include "head.hpp"
#include "layer.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace worldpm {
namespace {

using Array = nb::ndarray<nb::ro>;

[[noreturn]] void fail(const std::string& what) { throw nb::value_error(what.c_str()); }

template <class T>
bool has_type(const Array& array) {
    return array.dtype() == nb::dtype<T>();
}

void check_layout(const Array& array, const std::string& name) {
    if (array.device_type() != nb::device::cpu::value) fail(name + " is not in main memory");
    if (array.size() == 0) return;
    std::int64_t expected = 1;
    for (std::size_t i = array.ndim(); i-- > 0; expected *= array.shape(i))
        if (array.shape(i) > 1 && array.stride(i) != expected)
            fail(name + " is not C-contiguous");
}

template <class T>
std::span<const T> values(const Array& array, const std::string& name, std::size_t ndim,
                          const char* type) {
    if (!has_type<T>(array)) fail(name + " must be " + type);
    if (array.ndim() != ndim)
        fail(name + " must have " + std::to_string(ndim) + " dimensions, not " +
             std::to_string(array.ndim()));
    check_layout(array, name);
    return {static_cast<const T*>(array.data()), array.size()};
}

Weight weight_of(const Array& array, const std::string& name) {
    const bool bfloat16 = has_type<std::uint16_t>(array);
    if (!bfloat16 && !has_type<float>(array))
        fail(name + " must be float32, or bfloat16 seen as uint16");
    if (array.ndim() != 1 && array.ndim() != 2) fail(name + " must have one or two dimensions");
    check_layout(array, name);
    for (std::size_t i = 0; i < array.ndim(); ++i)
        if (array.shape(i) > (std::size_t{1} << 30)) fail(name + " is too large");
    return {array.data(), bfloat16, static_cast<int>(array.shape(0)),
            array.ndim() == 2 ? static_cast<int>(array.shape(1)) : 1};
}

Precision precision_of(const std::string& name) {
    if (name == "float32") return Precision::float32;
    if (name == "bfloat16") return Precision::bfloat16;
    fail("precision must be 'float32' or 'bfloat16', not '" + name + "'");
}

const char* storage_name(Storage storage) {
    return storage == Storage::float32 ? "float32" : "bfloat16";
}

// A layer and, where it is a view, the array it looks into.
struct BoundLayer {
    std::optional<Array> buffer;
    Layer layer;

    static Layer from_buffer(const Array& array) {
        const auto bytes = values<std::uint8_t>(array, "the buffer", 1, "uint8");
        if (reinterpret_cast<std::uintptr_t>(bytes.data()) % 64 != 0)
            fail("the buffer must be aligned to 64 bytes, as a memory-mapped file is");
        return Layer(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    explicit BoundLayer(const Array& array) : buffer(array), layer(from_buffer(array)) {}
    BoundLayer(const LayerShape& shape, const std::map<std::string, Weight>& weights,
               Precision precision, std::optional<Storage> storage, const std::string& isa)
        : layer(shape, weights, precision, storage, isa) {}
};

// From a mapping, or from an object with such attributes (a configuration).
LayerShape shape_of(nb::handle shape) {
    const bool mapping = nb::isinstance<nb::dict>(shape);
    const auto field = [&](const char* name) -> nb::object {
        if (!mapping) return shape.attr(name);
        if (!nb::cast<nb::dict>(shape).contains(name)) fail("the shape has no " + std::string(name));
        return shape[name];
    };
    const auto number = [&](const char* name) { return nb::cast<int>(field(name)); };
    return {number("hidden_size"),
            number("num_attention_heads"),
            number("num_key_value_heads"),
            number("head_dim"),
            number("intermediate_size"),
            nb::cast<float>(field("rms_norm_eps")),
            nb::cast<bool>(field("qk_norm"))};
}

void bind_layer(nb::module_& m) {
    nb::class_<BoundLayer>(m, "Layer")
        .def(
            "__init__",
            [](BoundLayer* self, nb::handle shape, const nb::dict& weights,
               const std::string& precision, const std::optional<std::string>& isa,
               const std::optional<std::string>& storage) {
                std::map<std::string, Weight> by_name;
                std::vector<Array> alive;
                for (const auto& [key, value] : weights) {
                    const std::string name = nb::cast<std::string>(key);
                    alive.push_back(nb::cast<Array>(value));
                    by_name[name] = weight_of(alive.back(), "the weight " + name);
                }
                std::optional<Storage> kept;
                if (storage)
                    kept = precision_of(*storage) == Precision::float32 ? Storage::float32
                                                                        : Storage::bfloat16;
                const LayerShape checked = shape_of(shape);
                const Precision computed = precision_of(precision);
                nb::gil_scoped_release released;
                new (self) BoundLayer(checked, by_name, computed, kept, isa.value_or(""));
            },
            "shape"_a, "weights"_a, "precision"_a = "float32", "isa"_a = nb::none(),
            "storage"_a = nb::none())
        .def_static(
            "from_buffer", [](const Array& buffer) { return new BoundLayer(buffer); }, "buffer"_a)
        .def("to_bytes",
             [](const BoundLayer& self) {
                 return nb::bytes(self.layer.packed(), self.layer.packed_bytes());
             })
        .def_prop_ro("packed",
                     [](nb::handle_t<BoundLayer> self) {
                         const Layer& layer = nb::cast<const BoundLayer&>(self).layer;
                         return nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>>(
                             layer.packed(), {layer.packed_bytes()}, self);
                     })
        .def_prop_ro("packed_bytes",
                     [](const BoundLayer& self) { return self.layer.packed_bytes(); })
        .def_prop_ro("precision",
                     [](const BoundLayer& self) { return precision_name(self.layer.precision()); })
        .def_prop_ro("storage",
                     [](const BoundLayer& self) { return storage_name(self.layer.storage()); })
        .def_prop_ro("isa", [](const BoundLayer& self) { return self.layer.isa(); })
        .def(
            "run",
            [](const BoundLayer& self, nb::ndarray<> residual, const Plan& plan) {
                const std::span<const float> rows =
                    values<float>(Array(residual), "the residual", 2, "float32");
                const std::size_t hidden = self.layer.shape().hidden;
                if (residual.shape(0) != std::size_t(plan.tokens()) || residual.shape(1) != hidden)
                    fail("the residual has shape (" + std::to_string(residual.shape(0)) + ", " +
                         std::to_string(residual.shape(1)) + "), not (" +
                         std::to_string(plan.tokens()) + ", " + std::to_string(hidden) + ")");
                nb::gil_scoped_release released;
                self.layer.run(const_cast<float*>(rows.data()), plan);
            },
            "residual"_a, "plan"_a);
}

void bind_plan(nb::module_& m) {
    nb::class_<Plan>(m, "Plan")
        .def(
            "__init__",
            [](Plan* self, const Array& positions, const Array& cos, const Array& sin,
               const Array& starts, const Array& lengths, const Array& parents) {
                const auto c = values<float>(cos, "cos", 2, "float32");
                const auto s = values<float>(sin, "sin", 2, "float32");
                if (cos.shape(0) != sin.shape(0) || cos.shape(1) != sin.shape(1))
                    fail("cos and sin differ in shape");
                new (self) Plan(values<std::int32_t>(positions, "positions", 1, "int32"), c, s,
                                cos.shape(1), values<std::int32_t>(starts, "starts", 1, "int32"),
                                values<std::int32_t>(lengths, "lengths", 1, "int32"),
                                values<std::int32_t>(parents, "parents", 1, "int32"));
            },
            "positions"_a, "cos"_a, "sin"_a, "starts"_a, "lengths"_a, "parents"_a)
        .def_prop_ro("num_tokens", &Plan::tokens)
        .def_prop_ro("num_segments", &Plan::segments);
}

void bind_head(nb::module_& m) {
    nb::class_<Head>(m, "Head")
        .def(
            "__init__",
            [](Head* self, const Array& norm, float eps, const nb::sequence& layers,
               const std::optional<std::string>& isa) {
                std::vector<Head::Linear> linear;
                std::vector<Array> alive;
                for (nb::handle item : layers) {
                    const auto pair = nb::cast<nb::tuple>(item);
                    if (pair.size() != 2) fail("a head's layer is a pair of weight and bias");
                    const std::string number = std::to_string(linear.size());
                    alive.push_back(nb::cast<Array>(pair[0]));
                    Head::Linear layer{weight_of(alive.back(), "the head's weight " + number), {}};
                    if (alive.back().ndim() != 2)
                        fail("the head's weight " + number + " must have 2 dimensions");
                    if (!pair[1].is_none()) {
                        alive.push_back(nb::cast<Array>(pair[1]));
                        layer.bias = weight_of(alive.back(), "the head's bias " + number);
                    }
                    linear.push_back(layer);
                }
                new (self)
                    Head(weight_of(norm, "the norm's weight"), eps, linear, isa.value_or(""));
            },
            "norm_weight"_a, "eps"_a, "weights"_a, "isa"_a = nb::none())
        .def_prop_ro("isa", &Head::isa)
        .def(
            "run",
            [](const Head& self, const Array& rows) {
                const auto input = values<float>(rows, "rows", 2, "float32");
                if (rows.shape(1) != std::size_t(self.hidden()))
                    fail("rows have " + std::to_string(rows.shape(1)) + " columns, not " +
                         std::to_string(self.hidden()));
                if (rows.shape(0) > std::size_t(std::numeric_limits<int>::max() / 2))
                    fail("there are too many rows");
                const std::size_t count = rows.shape(0);
                auto scores = std::make_unique<float[]>(count);
                {
                    nb::gil_scoped_release released;
                    self.run(input.data(), static_cast<int>(count), scores.get());
                }
                float* data = scores.release();
                nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
                return nb::ndarray<nb::numpy, float, nb::ndim<1>>(data, {count}, owner);
            },
            "rows"_a);
}

nb::tuple names(const std::optional<std::string>& precision) {
    nb::list found;
    for (const Isa* isa :
         available_isas(precision ? precision_of(*precision) : Precision::bfloat16))
        found.append(isa->name);
    return nb::tuple(found);
}

nb::tuple precisions(const std::string& isa) {
    if (find_isa(isa).computes_float32) return nb::make_tuple("float32", "bfloat16");
    return nb::make_tuple("bfloat16");
}

}  // namespace
}  // namespace worldpm

NB_MODULE(_core, m) {
    using namespace worldpm;
    m.def("isas", &names, "precision"_a = nb::none());
    m.def("precisions", &precisions, "isa"_a);
    m.def("set_num_threads", &set_num_threads, "count"_a);
    m.def("num_threads", &num_threads);
    bind_plan(m);
    bind_layer(m);
    bind_head(m);
}
