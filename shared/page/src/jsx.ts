/** What JSX becomes. The build adds this import to every file that needs it. */

export { Fragment, h } from "preact";
