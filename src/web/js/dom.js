/** The element with this id, which the page has. @param {string} id @returns {any} */
export const at = (id) => document.getElementById(id)

/**
 * Makes an element. Properties are set as they are called in the DOM; `data` are its data attributes, `attrs` its others.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {Array<Node | string>} children
 * @returns {any}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  const { data = {}, attrs = {}, ...others } = properties
  Object.assign(element, others)
  Object.assign(element.dataset, data)
  for (const [name, value] of Object.entries(attrs)) element.setAttribute(name, String(value))
  element.append(...children)
  return element
}

/** Says something, and leaves it alone where it is said already: assistive technology reads what changes. @param {HTMLElement} element @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** Sets or removes a data attribute. @param {HTMLElement} element @param {string} name @param {boolean} is_set */
export function mark(element, name, is_set) {
  if (is_set) element.dataset[name] = ''
  else delete element.dataset[name]
}
