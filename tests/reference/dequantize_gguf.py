"""Write a GGUF anew with every tensor in f32, for comparisons that no rounding of activations blurs.

    pip install gguf
    python tests/reference/dequantize_gguf.py MODEL.gguf MODEL-f32.gguf
"""

import sys

import gguf

ALL_F32 = 0


def main(source, target):
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        # The writer makes the header's own fields and the architecture itself.
        if not field.name.startswith("GGUF.") and field.name not in ("general.architecture", "general.file_type"):
            element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], element)
    writer.add_file_type(ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
