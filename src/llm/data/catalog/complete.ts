/** Fills in what a built-in data set says of itself where the config leaves it open. */
import { HUB_PREFIX } from "../../../core/store/hub-dataset.ts";
import type { DataSettings, FieldSettings } from "../settings.ts";
import { datasetNamed, partNamed } from "./all.ts";
import type { Dataset } from "./dataset.ts";

/** The built-in data set that the settings name; undefined for files, modules and the Hub's. Throws FedtuneError "config" for an unknown name. */
export function datasetOf({ name }: Pick<DataSettings, "name">): Dataset | undefined {
  return name === undefined || name.startsWith(HUB_PREFIX) ? undefined : datasetNamed(name);
}

/** The config's own mapping goes first; one to conversations or plain text takes nothing but the category of the catalog's. */
function mergeFields(fields: FieldSettings, own: FieldSettings): FieldSettings {
  if (own.messages === undefined && own.text === undefined) return { ...fields, ...own };
  return { ...(fields.category === undefined ? {} : { category: fields.category }), ...own };
}

/**
 * The settings with the field mapping, client, split and derived fields of the built-in data set that they name; what they say
 * themselves goes first. Settings that name none come back as they are.
 * @throws FedtuneError("config") for an unknown name or part
 */
export function completeSettings(settings: DataSettings): DataSettings {
  const dataset = datasetOf(settings);
  if (dataset === undefined || settings.name === undefined) return settings;
  const { fields, client, split, derive, format } = dataset;
  return {
    ...settings,
    part: partNamed(settings.name, dataset, settings.part),
    fields: mergeFields(fields, settings.fields),
    ...(settings.format === "auto" && format !== undefined && { format }),
    ...(settings.client_field === undefined && client !== undefined && { client_field: client }),
    ...(settings.split_field === undefined && split !== undefined && { split_field: split }),
    ...(settings.derive === undefined && derive !== undefined && { derive: [...derive] }),
  };
}
