/** A service with one RPC of each kind, described at run time so that it needs no generated file. */
import { create, createFileRegistry, type Message } from '@bufbuild/protobuf';
import type { GenMessage, GenService } from '@bufbuild/protobuf/codegenv2';
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';

export type Note = Message<'test.v1.Note'> & { text: string; number: number };
type NoteSchema = GenMessage<Note>;

const both = { inputType: '.test.v1.Note', outputType: '.test.v1.Note' };
const registry = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: 'test/v1/echo.proto',
    package: 'test.v1',
    syntax: 'proto3',
    messageType: [
      {
        name: 'Note',
        field: [
          { name: 'text', number: 1, type: Type.STRING, label: Label.OPTIONAL },
          { name: 'number', number: 2, type: Type.UINT32, label: Label.OPTIONAL },
        ],
      },
    ],
    service: [
      {
        name: 'EchoService',
        method: [
          { name: 'One', ...both },
          { name: 'Many', ...both, serverStreaming: true },
          { name: 'Collect', ...both, clientStreaming: true },
          { name: 'Talk', ...both, clientStreaming: true, serverStreaming: true },
        ],
      },
    ],
  }),
  () => undefined,
);

export const NoteSchema = registry.getMessage('test.v1.Note') as NoteSchema;

export const EchoService = registry.getService('test.v1.EchoService') as GenService<{
  one: { methodKind: 'unary'; input: NoteSchema; output: NoteSchema };
  many: { methodKind: 'server_streaming'; input: NoteSchema; output: NoteSchema };
  collect: { methodKind: 'client_streaming'; input: NoteSchema; output: NoteSchema };
  talk: { methodKind: 'bidi_streaming'; input: NoteSchema; output: NoteSchema };
}>;
